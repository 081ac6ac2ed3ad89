#include <twopass/graph/model/rows.h>

#include <fmt/format.h>

#include <cmath>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/shaping.h>

namespace twopass {

double without_sign_of_nan(double value) { return std::isnan(value) ? std::fabs(value) : value; }

namespace {

// Cutting what stands behind the point would make other words or labels of them.
void check_whole(const Tensor& x, const std::string& title) {
  dispatch_floating(x.dtype(), [&]<typename T>() {
    const T* const values = x.data<T>();
    for (std::int64_t at = 0; at < x.elements(); ++at) {
      const T value = values[at];
      if (value == std::trunc(value) && std::fabs(value) < static_cast<T>(0x1p63)) continue;
      throw Error(fmt::format("{} hold {} in row {}: i64 takes whole numbers", title,
                              std::isnan(value) ? std::fabs(value) : value, at / (x.elements() / x.shape()[0])));
    }
  });
}

}  // namespace

Rows::Rows(const Tensors& tensors, const std::vector<std::string>& names, const std::string& what,
           const std::vector<DType>& wanted)
    : tensors_(tensors), wanted_(wanted) {
  for (std::size_t k = 0; k < tensors_.size(); ++k) {
    const std::string title = k < names.size() ? fmt::format("{} \"{}\"", what, names[k]) : what;
    Tensor& x = tensors_[k];
    if (!x.defined() || x.symbolic()) throw Error(fmt::format("{} has no values", title));
    if (x.rank() == 0)
      throw Error(fmt::format("{} is a scalar: data need a first axis that runs over the samples", title));
    const std::int64_t rows = x.shape()[0];
    if (rows == 0) throw Error(fmt::format("{} has no rows: its shape is {}", title, x.shape().text()));
    if (k == 0) count_ = rows;
    if (rows != count_)
      throw Error(fmt::format("{} has {} where \"{}\" has {}", title, counted(rows, "row"),
                              names.empty() ? what : names[0], count_));
    if (wanted_.size() == k) wanted_.push_back(x.dtype());
    if (is_floating(x.dtype()) && wanted_[k] == i64) {
      check_whole(x, title);
      x = cast(x, i64);
    }
  }
}

bool Rows::converts() const {
  for (std::size_t k = 0; k < tensors_.size(); ++k)
    if (tensors_[k].dtype() != wanted_[k]) return true;
  return false;
}

// What is converted is looked at as it will be: 1e300 is infinite in f32.
std::optional<Rows::NotFinite> Rows::not_finite() const {
  for (std::size_t k = 0; k < tensors_.size(); ++k) {
    const Tensor& x = tensors_[k];
    if (!is_floating(wanted_[k])) continue;
    std::optional<NotFinite> found;
    dispatch(x.dtype(), [&]<typename T>() {
      const T* const values = x.data<T>();
      for (std::int64_t at = 0; at < x.elements() && !found; ++at) {
        const auto value = static_cast<double>(values[at]);
        const double taken = wanted_[k] == f32 ? static_cast<double>(static_cast<float>(value)) : value;
        if (!std::isfinite(taken)) found = {k, at / (x.elements() / count_), without_sign_of_nan(value)};
      }
    });
    if (found) return found;
  }
  return std::nullopt;
}

Rows Rows::range(std::int64_t first, std::int64_t last) const {
  Rows part;
  for (const Tensor& x : tensors_) part.tensors_.push_back(slice(x, 0, first, last));
  part.wanted_ = wanted_;
  part.count_ = last - first;
  return part;
}

Tensors Rows::batch(std::int64_t first, std::int64_t last) const {
  Tensors batch;
  for (std::size_t k = 0; k < tensors_.size(); ++k)
    batch.push_back(cast(slice(tensors_[k], 0, first, last), wanted_[k]));
  return batch;
}

Tensors Rows::room(std::int64_t count) const {
  Tensors room;
  for (std::size_t k = 0; k < tensors_.size(); ++k)
    room.push_back(uninitialised(tensors_[k].shape().with(0, count), wanted_[k]));
  return room;
}

void Rows::gather(std::span<const std::int64_t> rows, const Tensors& room, std::int64_t at, Reach reach) const {
  for (std::size_t k = 0; k < tensors_.size(); ++k) twopass::gather(tensors_[k], rows, room[k], at, reach);
}

void check_batch_size(std::int64_t batch_size, const char* call) {
  if (batch_size < 1) throw Error(fmt::format("{}: the batch size must be at least 1, not {}", call, batch_size));
}

void check_rows(const Rows& inputs, const Rows& targets, const char* call) {
  if (inputs.count() != targets.count())
    throw Error(fmt::format("{}: the inputs have {} but the targets {}", call, counted(inputs.count(), "row"),
                            targets.count()));
}

void check_verbose(int verbose, const char* call) {
  if (verbose < 0 || verbose > 2)
    throw Error(fmt::format("{}: verbose must be 0 (nothing), 1 (a progress bar) or 2 (a line an epoch), not {}", call,
                            verbose));
}

std::int64_t validation_rows(std::int64_t n, double split) {
  if (!(split >= 0 && split < 1))
    throw Error(fmt::format("fit: validation_split must be at least 0 and below 1, not {}", split));
  if (split == 0) return 0;
  const double exact = static_cast<double>(n) * split;
  const auto rows = static_cast<std::int64_t>(std::ceil(exact - 1e-9 * static_cast<double>(n)));
  if (rows <= 0 || rows >= n)
    throw Error(fmt::format("fit: validation_split {} of {} leaves {} to train and {} to validate", split,
                            counted(n, "row"), n - rows, rows));
  return rows;
}

}  // namespace twopass
