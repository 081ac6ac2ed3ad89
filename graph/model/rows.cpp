#include <twopass/graph/model/rows.h>

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/ops/shaping.h>

namespace twopass {

Rows::Rows(Tensors tensors, const std::vector<std::string>& names, const std::string& what)
    : tensors_(std::move(tensors)) {
  for (std::size_t k = 0; k < tensors_.size(); ++k) {
    const std::string title = k < names.size() ? fmt::format("{} \"{}\"", what, names[k]) : what;
    const Tensor& x = tensors_[k];
    if (!x.defined() || x.symbolic()) throw Error(fmt::format("{} has no values", title));
    if (x.rank() == 0)
      throw Error(fmt::format("{} is a scalar: data need a first axis that runs over the samples", title));
    const std::int64_t rows = x.shape()[0];
    if (rows == 0) throw Error(fmt::format("{} has no rows: its shape is {}", title, x.shape().text()));
    if (k == 0) count_ = rows;
    if (rows != count_)
      throw Error(fmt::format("{} has {} where \"{}\" has {}", title, counted(rows, "row"),
                              names.empty() ? what : names[0], count_));
  }
}

void Rows::check_finite(const std::vector<std::string>& names, const std::string& what) const {
  for (std::size_t k = 0; k < tensors_.size(); ++k) {
    const Tensor& x = tensors_[k];
    if (!is_floating(x.dtype())) continue;
    dispatch(x.dtype(), [&]<typename T>() {
      const T* const values = x.data<T>();
      for (std::int64_t at = 0; at < x.elements(); ++at)
        if (!std::isfinite(static_cast<double>(values[at])))
          throw Error(
              fmt::format("{} \"{}\" hold {} in row {}", what, names[k], values[at], at / (x.elements() / count_)));
    });
  }
}

Rows Rows::range(std::int64_t first, std::int64_t last) const {
  Rows part;
  for (const Tensor& x : tensors_) part.tensors_.push_back(slice(x, 0, first, last));
  part.count_ = last - first;
  return part;
}

Tensors Rows::batch(std::span<const std::int64_t> rows) const {
  Tensors batch;
  for (const Tensor& x : tensors_) {
    Tensor copy = uninitialised(x.shape().with(0, static_cast<std::int64_t>(rows.size())), x.dtype());
    const std::size_t bytes = x.node().bytes() / static_cast<std::size_t>(count_);
    for (std::size_t k = 0; k < rows.size(); ++k)
      std::memcpy(copy.node().data + k * bytes, x.node().data + static_cast<std::size_t>(rows[k]) * bytes, bytes);
    batch.push_back(std::move(copy));
  }
  return batch;
}

void check_batch_size(std::int64_t batch_size, const char* call) {
  if (batch_size < 1) throw Error(fmt::format("{}: the batch size must be at least 1, not {}", call, batch_size));
}

void check_rows(const Rows& inputs, const Rows& targets, const char* call) {
  if (inputs.count() != targets.count())
    throw Error(fmt::format("{}: the inputs have {} but the targets {}", call, counted(inputs.count(), "row"),
                            targets.count()));
}

std::int64_t validation_rows(std::int64_t n, double split) {
  if (!(split >= 0 && split < 1))
    throw Error(fmt::format("validation_split must be at least 0 and below 1, not {}", split));
  if (split == 0) return 0;
  const double exact = static_cast<double>(n) * split;
  const auto rows = static_cast<std::int64_t>(std::ceil(exact - 1e-9 * static_cast<double>(n)));
  if (rows <= 0 || rows >= n)
    throw Error(fmt::format("validation_split {} of {} leaves {} to train and {} to validate", split, counted(n, "row"),
                            n - rows, rows));
  return rows;
}

}  // namespace twopass
