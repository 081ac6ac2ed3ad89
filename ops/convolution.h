// Convolution and pooling of images, [batch, channels, rows, columns].
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/ops/products.h>

namespace twopass {

/// Rows and columns of a window, a step or a spacing; one number stands for both.
struct Extent {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  Extent(std::int64_t both) : rows(both), columns(both) {}
  Extent(std::int64_t a_rows, std::int64_t a_columns) : rows(a_rows), columns(a_columns) {}
  std::vector<std::int64_t> list() const { return {rows, columns}; }
};

/// What is put around an image: "valid": nothing; "same": what gives ceil(size / stride), the odd one after, as in
/// TensorFlow; or a number of rows and columns. Zeros for convolution, nothing that could win for max-pooling.
class Padding {
 public:
  Padding() = default;
  Padding(const char* name) : Padding(std::string(name)) {}
  Padding(const std::string& name);
  Padding(std::int64_t all) : widths_{all, all, all, all} {}
  Padding(std::int64_t top, std::int64_t bottom, std::int64_t left, std::int64_t right)
      : widths_{top, bottom, left, right} {}

  bool same() const { return same_; }
  const std::vector<std::int64_t>& widths() const { return widths_; }

 private:
  bool same_ = false;
  std::vector<std::int64_t> widths_ = {0, 0, 0, 0};
};

struct Conv2dOptions {
  Extent strides = 1;
  Padding padding = {};
  Extent dilation = 1;
  /// Channels and filters in so many parts that do not see each other.
  std::int64_t groups = 1;
  /// linear or relu.
  FusedActivation activation = FusedActivation::linear;
};
/// activation(x * kernel + bias), the cross-correlation that networks call convolution: x [n, c, h, w], kernel
/// [filters, c / groups, rows, columns], bias [filters] or undefined.
Tensor conv2d(const Tensor& x, const Tensor& kernel, const Tensor& bias = {}, const Conv2dOptions& options = {});

struct Pool2dOptions {
  Extent window = 2;
  /// 0: as the window.
  Extent strides = 0;
  Padding padding = {};
};
/// The largest of each window; of ties the first takes the gradient, NaN wins. Padding may be half the window at most.
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options = {});

}  // namespace twopass
