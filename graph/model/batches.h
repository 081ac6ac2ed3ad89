// The batches of an epoch, gathered on a thread of their own while steps run. For the files of this folder.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include <twopass/graph/model/rows.h>

namespace twopass {

/// The rows of one batch of several sets of rows, in their order.
class Batches {
 public:
  /// Rows `order[first] … ` of each set, `size` at a time. Gathers ahead where `ahead` is set, else when asked.
  Batches(std::vector<const Rows*> sets, std::span<const std::int64_t> order, std::int64_t size, bool ahead);
  ~Batches();
  Batches(const Batches&) = delete;
  Batches& operator=(const Batches&) = delete;

  std::int64_t count() const { return count_; }
  /// The next batch: the tensors of each set.
  std::vector<Tensors> next();

 private:
  std::vector<Tensors> gather(std::int64_t batch) const;
  void work();

  std::vector<const Rows*> sets_;
  std::span<const std::int64_t> order_;
  std::int64_t size_, count_, taken_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::vector<Tensors>> ready_;
  std::exception_ptr failure_;
  bool stop_ = false;
  std::thread worker_;
};

}  // namespace twopass
