// The three products of convolution on memory. For the .cpp files of this folder.
#pragma once
#include <cstdint>

#include <twopass/ops/windows.h>

namespace twopass::convolution {

/// Images [n, channels, rows, columns], kernels [filters, channels / groups, …], outputs [n, filters, …].
struct Sizes {
  std::int64_t images, channels, filters, groups;
  windows::Axis rows, columns;

  std::int64_t group_channels() const { return channels / groups; }
  std::int64_t group_filters() const { return filters / groups; }
  std::int64_t input_plane() const { return rows.input * columns.input; }
  std::int64_t output_plane() const { return rows.output * columns.output; }
  /// Elements of one filter, and of all.
  std::int64_t filter() const { return group_channels() * rows.window * columns.window; }
  std::int64_t kernel() const { return filters * filter(); }
  /// Multiply-adds of one image.
  std::int64_t work() const { return kernel() * output_plane(); }
};

/// y = x * kernel + bias, then relu; bias may be null. f32 and f64, as all three; bit-equal for any number of threads.
template <typename T>
void forward(const Sizes& sizes, const T* x, const T* kernel, const T* bias, bool relu, T* y);
/// What comes back to x of g, the gradient of y.
template <typename T>
void input_gradient(const Sizes& sizes, const T* g, const T* kernel, T* dx);
/// And to the kernel.
template <typename T>
void kernel_gradient(const Sizes& sizes, const T* x, const T* g, T* dk);

}  // namespace twopass::convolution
