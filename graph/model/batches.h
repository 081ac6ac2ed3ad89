// The batches of an epoch, made by idle threads while steps run. For the files of this folder.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include <twopass/core/idle_work.h>
#include <twopass/graph/model/gathering.h>
#include <twopass/graph/model/rows.h>

namespace twopass {

/// The rows of several sets, batch by batch, for the thread that makes it. Rows that are gathered or converted are so
/// one batch ahead, by threads of the pool that have nothing else to do; what they leave is done when it is asked for.
class Batches {
 public:
  /// Rows `order[0]`, `order[1]`, … of each set, `size` at a time. Without an order all rows as they lie: then batches
  /// share the memory of sets where nothing is converted.
  Batches(std::vector<const Rows*> sets, std::int64_t size, std::span<const std::int64_t> order = {});
  Batches(const Batches&) = delete;
  Batches& operator=(const Batches&) = delete;

  std::int64_t count() const { return count_; }
  /// The next batch: the tensors of each set. What making it threw is thrown here.
  std::vector<Tensors> next();

 private:
  bool shares(const Rows& set) const { return order_.empty() && !set.converts(); }
  void begin();
  void make(std::int64_t piece);

  const std::thread::id reader_ = std::this_thread::get_id();
  std::optional<Reach> others_;  // for what other threads write, once they do
  std::vector<const Rows*> sets_;
  std::span<const std::int64_t> order_;
  std::int64_t size_, rows_, count_;
  std::int64_t first_ = 0;             // of the batch that is made now: its first row,
  std::vector<std::int64_t> numbers_;  // the numbers of its rows,
  std::vector<Tensors> batch_;         // and what it becomes
  std::int64_t piece_ = 1;             // rows that are made at once
  bool waits_ = false;                 // whether it is made when it is asked for
  std::unique_ptr<threads::IdleWork> work_;
};

}  // namespace twopass
