// Rows of data as training takes them: checked once, cast once, cut into batches. For the files of this folder.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// Tensors whose first axis runs over the same samples.
class Rows {
 public:
  Rows() = default;
  /// Refuses tensors without axes, without rows and of different lengths, naming them: "inputs \"image\"".
  Rows(Tensors tensors, const std::vector<std::string>& names, const std::string& what);

  std::int64_t count() const { return count_; }
  const Tensors& tensors() const { return tensors_; }
  /// Refuses NaN and infinity, naming the tensor and the row.
  void check_finite(const std::vector<std::string>& names, const std::string& what) const;
  /// Rows first … last-1; memory is shared.
  Rows range(std::int64_t first, std::int64_t last) const;
  /// The rows of these numbers, copied together.
  Tensors batch(std::span<const std::int64_t> rows) const;

 private:
  Tensors tensors_;
  std::int64_t count_ = 0;
};

/// Refuses batches of less than one row.
void check_batch_size(std::int64_t batch_size, const char* call);
/// Refuses inputs and targets of different lengths.
void check_rows(const Rows& inputs, const Rows& targets, const char* call);

/// The number of rows for validation: ceil(n s) up to rounding noise. Refuses s outside [0, 1) and an empty part.
std::int64_t validation_rows(std::int64_t n, double split);

/// The mean over rows of values that come batch by batch.
class RunningMean {
 public:
  void add(double value, std::int64_t rows) {
    sum_ += value * static_cast<double>(rows);
    rows_ += rows;
  }
  double value() const { return rows_ ? sum_ / static_cast<double>(rows_) : 0; }

 private:
  double sum_ = 0;
  std::int64_t rows_ = 0;
};

}  // namespace twopass
