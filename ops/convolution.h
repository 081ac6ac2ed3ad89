// Convolution and pooling: of images [batch, channels, rows, columns], of sequences [batch, channels, steps] and of
// volumes [batch, channels, depth, rows, columns].
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
  /// Whether x and y are [n, h, w, c]; costs a transpose of each, as kernels work on channels first.
  bool channels_last = false;
};
/// activation(x * kernel + bias), the cross-correlation that networks call convolution: x [n, c, h, w], kernel
/// [filters, c / groups, rows, columns], bias [filters] or undefined.
Tensor conv2d(const Tensor& x, const Tensor& kernel, const Tensor& bias = {}, const Conv2dOptions& options = {});

/// conv2d with each channel a group of its own: kernel [c multiplier, 1, rows, columns]; options' groups are not read.
Tensor depthwise_conv2d(const Tensor& x, const Tensor& kernel, const Tensor& bias = {},
                        const Conv2dOptions& options = {});
/// What conv2d with this kernel passes back to images of `size` from g, the gradient of its output; options' activation
/// is not read.
Tensor conv2d_input_gradient(const Tensor& g, const Tensor& kernel, Extent size, const Conv2dOptions& options = {});

struct Conv2dTransposeOptions {
  Extent strides = 1;
  Padding padding = {};
  Extent dilation = 1;
  std::int64_t groups = 1;
  /// Rows and columns more after the last; less than the strides, and none beside padding "same".
  Extent output_padding = 0;
  /// As for conv2d.
  bool channels_last = false;
};
/// The transpose of conv2d, from its outputs to its inputs, plus bias [filters] or none: x [n, c, h, w], kernel
/// [c, filters / groups, rows, columns] as in PyTorch. Rows are (h - 1) stride + (rows - 1) dilation + 1 - top - bottom
/// + output_padding as in PyTorch, with padding "same" h stride as in Keras. Refuses open rows and columns.
Tensor conv2d_transpose(const Tensor& x, const Tensor& kernel, const Tensor& bias = {},
                        const Conv2dTransposeOptions& options = {});

/// What is put around a sequence: as Padding, or "causal": so much before that no output sees what comes after it.
class Padding1d {
 public:
  Padding1d() = default;
  Padding1d(const char* name) : Padding1d(std::string(name)) {}
  Padding1d(const std::string& name);
  Padding1d(std::int64_t both) : before_(both), after_(both) {}
  Padding1d(std::int64_t before, std::int64_t after) : before_(before), after_(after) {}

  bool causal() const { return causal_; }
  bool same() const { return same_; }
  std::int64_t before() const { return before_; }
  std::int64_t after() const { return after_; }
  /// That of an image of one row for a window that reaches over so many steps.
  Padding of_row(std::int64_t reach) const;

 private:
  bool same_ = false, causal_ = false;
  std::int64_t before_ = 0, after_ = 0;
};

struct Conv1dOptions {
  std::int64_t stride = 1;
  Padding1d padding = {};
  std::int64_t dilation = 1;
  std::int64_t groups = 1;
  FusedActivation activation = FusedActivation::linear;
  /// Whether x and y are [n, t, c]; costs a transpose of each.
  bool channels_last = false;
};
/// conv2d of one row: x [n, c, t], kernel [filters, c / groups, steps].
Tensor conv1d(const Tensor& x, const Tensor& kernel, const Tensor& bias = {}, const Conv1dOptions& options = {});

/// Depth, rows and columns; one number stands for all.
struct Extent3d {
  std::int64_t depth = 1;
  Extent plane = 1;
  Extent3d(std::int64_t all) : depth(all), plane(all) {}
  Extent3d(std::int64_t a_depth, std::int64_t rows, std::int64_t columns) : depth(a_depth), plane(rows, columns) {}
  std::vector<std::int64_t> list() const { return {depth, plane.rows, plane.columns}; }
};
/// What is put around a volume: that of its planes, and so many in front and behind.
class Padding3d {
 public:
  Padding3d() = default;
  Padding3d(const char* name) : plane_(name) {}
  Padding3d(const std::string& name) : plane_(name) {}
  Padding3d(std::int64_t all) : plane_(all), front_(all), back_(all) {}
  Padding3d(std::int64_t front, std::int64_t back, const Padding& plane) : plane_(plane), front_(front), back_(back) {}

  bool same() const { return plane_.same(); }
  const Padding& plane() const { return plane_; }
  std::int64_t front() const { return front_; }
  std::int64_t back() const { return back_; }
  /// In front and behind, then those of planes.
  std::vector<std::int64_t> widths() const;

 private:
  Padding plane_ = {};
  std::int64_t front_ = 0, back_ = 0;
};

struct Conv3dOptions {
  Extent3d strides = 1;
  Padding3d padding = {};
  Extent3d dilation = 1;
  std::int64_t groups = 1;
  FusedActivation activation = FusedActivation::linear;
  /// Whether x and y are [n, d, h, w, c]; costs a transpose of each.
  bool channels_last = false;
};
/// x [n, c, d, h, w], kernel [filters, c / groups, depth, rows, columns]: a conv2d for each plane of the output, which
/// takes the planes that it sees as channels. Refuses an open depth.
Tensor conv3d(const Tensor& x, const Tensor& kernel, const Tensor& bias = {}, const Conv3dOptions& options = {});

struct Pool2dOptions {
  Extent window = 2;
  /// 0: as the window.
  Extent strides = 0;
  Padding padding = {};
  /// Whether x and y are [n, h, w, c]; costs a transpose of each.
  bool channels_last = false;
  /// Whether averages count padding as zeros, as in PyTorch; else it is left out, as in Keras.
  bool count_padding = false;
};
/// The largest of each window; of ties the first takes the gradient, NaN wins. Padding may be half the window at most.
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options = {});
/// The mean of each window. Padding may be half the window at most.
Tensor average_pool2d(const Tensor& x, const Pool2dOptions& options = {});

struct Pool1dOptions {
  std::int64_t window = 2;
  /// 0: as the window.
  std::int64_t stride = 0;
  /// Not "causal".
  Padding1d padding = {};
  bool channels_last = false;
  bool count_padding = false;
};
/// The same of sequences [n, c, t].
Tensor max_pool1d(const Tensor& x, const Pool1dOptions& options = {});
Tensor average_pool1d(const Tensor& x, const Pool1dOptions& options = {});

struct Pool3dOptions {
  Extent3d window = 2;
  /// 0: as the window.
  Extent3d strides = 0;
  Padding3d padding = {};
  bool channels_last = false;
  bool count_padding = false;
};
/// The same of volumes [n, c, d, h, w]: a pool of each plane, then one along the depth. Only the batch may be open.
Tensor max_pool3d(const Tensor& x, const Pool3dOptions& options = {});
Tensor average_pool3d(const Tensor& x, const Pool3dOptions& options = {});

/// Pools to `size` rows and columns: window k of m over n elements is those from ⌊k n / m⌋ to ⌈(k + 1) n / m⌉, as in
/// PyTorch. Where m does not divide n, windows overlap, and ties of the largest share the gradient. Refuses open rows
/// and columns.
Tensor adaptive_max_pool2d(const Tensor& x, Extent size);
Tensor adaptive_average_pool2d(const Tensor& x, Extent size);
/// The largest and the mean of each channel of x [n, c, ...]: [n, c].
Tensor global_max_pool(const Tensor& x);
Tensor global_average_pool(const Tensor& x);

}  // namespace twopass
