#include <twopass/graph/model/batches.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include <twopass/core/threads.h>

namespace twopass {
namespace {

// Bytes that a thread copies at once: about 10 µs, for which tiles that come meanwhile have one thread less.
constexpr std::int64_t kPieceBytes = 1 << 17;
// Smaller batches are made when they are asked for: telling another thread takes as long (one of 16 kB costs a step 7
// µs either way, one of 64 kB 6 or 12).
constexpr std::int64_t kAheadBytes = 1 << 15;

// Batches that others make, from which on finding out how far threads are from one another takes little beside that.
constexpr std::int64_t kMany = 16;

std::int64_t bytes_of(const Tensors& tensors) {
  std::int64_t bytes = 0;
  for (const Tensor& x : tensors) bytes += static_cast<std::int64_t>(x.node().bytes());
  return bytes;
}

}  // namespace

Batches::Batches(std::vector<const Rows*> sets, std::int64_t size, std::span<const std::int64_t> order)
    : sets_(std::move(sets)),
      order_(order),
      size_(size),
      rows_(order.empty() ? sets_[0]->count() : static_cast<std::int64_t>(order.size())),
      count_((rows_ + size - 1) / size) {
  if (count_ > 0) begin();
}

// Begins the batch from row first_ on.
void Batches::begin() {
  const std::int64_t rows = std::min(size_, rows_ - first_);
  numbers_.resize(static_cast<std::size_t>(rows));
  if (order_.empty())
    std::iota(numbers_.begin(), numbers_.end(), first_);
  else
    std::copy_n(order_.begin() + static_cast<std::ptrdiff_t>(first_), rows, numbers_.begin());
  batch_.clear();
  std::int64_t bytes = 0;
  for (const Rows* set : sets_) {
    batch_.push_back(shares(*set) ? set->batch(first_, first_ + rows) : set->room(rows));
    if (!shares(*set)) bytes += bytes_of(batch_.back());
  }
  waits_ = bytes > 0 && bytes < kAheadBytes;
  if (waits_) piece_ = rows;
  if (bytes == 0 || waits_) return;
  piece_ = std::max<std::int64_t>(1, kPieceBytes * rows / bytes);
  if (!others_) others_ = count_ >= kMany && threads::share_cache() ? Reach::here : Reach::elsewhere;
  work_ =
      std::make_unique<threads::IdleWork>((rows + piece_ - 1) / piece_, [this](std::int64_t piece) { make(piece); });
}

void Batches::make(std::int64_t piece) {
  const auto first = static_cast<std::size_t>(piece * piece_);
  const auto rows =
      std::span(numbers_).subspan(first, std::min(static_cast<std::size_t>(piece_), numbers_.size() - first));
  const Reach reach = std::this_thread::get_id() == reader_ ? Reach::here : *others_;
  for (std::size_t k = 0; k < sets_.size(); ++k)
    if (!shares(*sets_[k])) sets_[k]->gather(rows, batch_[k], piece * piece_, reach);
}

std::vector<Tensors> Batches::next() {
  if (waits_) make(0);
  if (work_) work_->finish();
  work_.reset();
  std::vector<Tensors> batch = std::move(batch_);
  first_ += size_;
  if (first_ < rows_) begin();
  return batch;
}

}  // namespace twopass
