#include <twopass/graph/model/batches.h>

#include <algorithm>
#include <utility>

namespace twopass {

Batches::Batches(std::vector<const Rows*> sets, std::span<const std::int64_t> order, std::int64_t size, bool ahead)
    : sets_(std::move(sets)),
      order_(order),
      size_(size),
      count_((static_cast<std::int64_t>(order.size()) + size - 1) / size) {
  if (ahead && count_ > 1) worker_ = std::thread([this] { work(); });
}

Batches::~Batches() {
  if (!worker_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

std::vector<Tensors> Batches::gather(std::int64_t batch) const {
  const auto first = static_cast<std::size_t>(batch * size_);
  const auto rows = order_.subspan(first, std::min(static_cast<std::size_t>(size_), order_.size() - first));
  std::vector<Tensors> gathered;
  for (const Rows* set : sets_) gathered.push_back(set->batch(rows));
  return gathered;
}

std::vector<Tensors> Batches::next() {
  if (!worker_.joinable()) return gather(taken_++);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ready_ || failure_; });
  if (failure_) std::rethrow_exception(failure_);
  std::vector<Tensors> batch = std::move(*ready_);
  ready_.reset();
  ++taken_;
  lock.unlock();
  changed_.notify_all();
  return batch;
}

void Batches::work() {
  for (std::int64_t batch = 0; batch < count_; ++batch) {
    std::optional<std::vector<Tensors>> made;
    std::exception_ptr failure;
    try {
      made = gather(batch);
    } catch (...) {
      failure = std::current_exception();
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !ready_ || stop_; });
    if (stop_) return;
    ready_ = std::move(made);
    failure_ = failure;
    lock.unlock();
    changed_.notify_all();
    if (failure) return;
  }
}

}  // namespace twopass
