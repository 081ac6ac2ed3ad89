#include <twopass/core/idle_work.h>

#include <utility>

#include <twopass/core/denormals.h>

namespace twopass::threads {

struct IdleWork::Pieces {
  std::function<void(std::int64_t)> body;
  std::int64_t count;
  std::uint32_t giver_denormals = denormals();
  std::int64_t next = 0;
  int running = 0;
  std::exception_ptr failure = {};
};

IdleWork::IdleWork(std::int64_t pieces, std::function<void(std::int64_t)> body)
    : pieces_(std::make_shared<Pieces>(Pieces{std::move(body), pieces})), list_(give(pieces_)) {
  if (list_) return;
  list_ = std::make_shared<IdleWorks>();
  list_->add(pieces_);
}

IdleWork::~IdleWork() { list_->end(pieces_); }

void IdleWork::finish() {
  list_->run_all(pieces_);
  if (const std::exception_ptr failure = list_->end(pieces_)) std::rethrow_exception(failure);
}

namespace {

thread_local int pieces_around = 0;  // pieces that this thread is in

}  // namespace

void IdleWorks::before_fork() {
  std::unique_lock lock(mutex_);
  forking_ += pieces_around;  // for which nobody may wait: those who are at them fork, too
  done_.notify_all();
  done_.wait(lock, [&] { return running_ <= forking_; });
  forking_ -= pieces_around;
  lock.release();  // held until after_fork
}

void IdleWorks::add(const Work& work) {
  const std::lock_guard lock(mutex_);
  if (work->count == 0) return;
  works_.push_back(work);
  open_ += work->count;
}

void IdleWorks::run_one() {
  std::unique_lock lock(mutex_);
  if (works_.empty()) return;
  const Work work = works_.front();
  run_piece(lock, *work);
}

void IdleWorks::run_all(const Work& work) {
  std::unique_lock lock(mutex_);
  const std::uint32_t before = denormals();
  while (work->next < work->count) run_piece(lock, *work);
  set_denormals(before);
}

std::exception_ptr IdleWorks::end(const Work& work) {
  std::unique_lock lock(mutex_);
  close(*work);
  done_.wait(lock, [&] { return work->running == 0; });
  return work->failure;
}

void IdleWorks::run_piece(std::unique_lock<std::mutex>& lock, IdleWork::Pieces& work) {
  const std::int64_t piece = work.next++;
  ++work.running;
  ++running_;
  --open_;
  if (work.next == work.count) close(work);
  lock.unlock();
  std::exception_ptr failure;
  if (denormals() != work.giver_denormals) set_denormals(work.giver_denormals);
  ++pieces_around;
  try {
    work.body(piece);
  } catch (...) {
    failure = std::current_exception();
  }
  --pieces_around;
  lock.lock();
  if (failure && !work.failure) {
    work.failure = failure;
    close(work);
  }
  --running_;
  --work.running;
  done_.notify_all();
}

void IdleWorks::close(IdleWork::Pieces& work) {
  open_ -= work.count - work.next;
  work.next = work.count;
  std::erase_if(works_, [&](const Work& each) { return each.get() == &work; });
}

}  // namespace twopass::threads
