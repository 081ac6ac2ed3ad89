// Rows of data as training takes them: checked once, cut into batches, converted batch by batch. For the files of this
// folder.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/graph/model/gathering.h>

namespace twopass {

/// A number for a message: NaN without its sign, which says nothing.
double without_sign_of_nan(double value);

/// Tensors whose first axis runs over the same samples.
class Rows {
 public:
  Rows() = default;
  /// Refuses tensors without axes, without rows and of different lengths, naming them: "inputs \"image\"". Batches have
  /// the dtypes that are wanted; what becomes i64 is converted now, and refused where it is no whole number. Without
  /// `wanted` they have those of the tensors.
  Rows(const Tensors& tensors, const std::vector<std::string>& names, const std::string& what,
       const std::vector<DType>& wanted = {});

  std::int64_t count() const { return count_; }
  /// As they were given, not converted.
  const Tensors& tensors() const { return tensors_; }
  /// Whether batches have other dtypes.
  bool converts() const;
  /// The first NaN or infinity in the order of the tensors.
  struct NotFinite {
    std::size_t tensor;
    std::int64_t row;
    double value;
  };
  std::optional<NotFinite> not_finite() const;
  /// Rows first … last-1; memory is shared.
  Rows range(std::int64_t first, std::int64_t last) const;

  /// All of them as one batch, and rows first … last-1; memory is shared where nothing is converted.
  Tensors batch() const { return batch(0, count_); }
  Tensors batch(std::int64_t first, std::int64_t last) const;
  /// Memory for a batch of `count` rows, for `gather`.
  Tensors room(std::int64_t count) const;
  /// Copies the rows of these numbers into such memory, from its row `at` on. Refuses numbers that there are not.
  void gather(std::span<const std::int64_t> rows, const Tensors& room, std::int64_t at, Reach reach) const;

 private:
  Tensors tensors_;
  std::vector<DType> wanted_;
  std::int64_t count_ = 0;
};

/// Refuses batches of less than one row.
void check_batch_size(std::int64_t batch_size, const char* call);
/// Refuses inputs and targets of different lengths.
void check_rows(const Rows& inputs, const Rows& targets, const char* call);

/// Refuses other than nothing (0), a progress bar (1) and a line an epoch (2).
void check_verbose(int verbose, const char* call);
/// The number of rows for validation: ceil(n s) up to rounding noise. Refuses s outside [0, 1) and an empty part.
std::int64_t validation_rows(std::int64_t n, double split);

/// The mean over rows of values that come batch by batch.
class RunningMean {
 public:
  void add(double value, std::int64_t rows) {
    sum_ += value * static_cast<double>(rows);
    rows_ += rows;
  }
  double value() const { return rows_ ? without_sign_of_nan(sum_ / static_cast<double>(rows_)) : 0; }

 private:
  double sum_ = 0;
  std::int64_t rows_ = 0;
};

}  // namespace twopass
