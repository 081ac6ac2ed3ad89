// The three products of convolution on memory. For the .cpp files of this folder.
#pragma once
#include <cstdint>

#include <twopass/ops/windows.h>

namespace twopass::convolution {

/// Images [n, channels, rows, columns], kernels [filters, channels / groups, …], outputs [n, filters, …].
struct Sizes {
  std::int64_t images, channels, filters, groups;
  windows::Axis rows, columns;
  /// So many channels of images, and filters of outputs, lie together, [n, channels / block, rows, columns, block]; 0:
  /// one plane after another.
  std::int64_t image_block = 0, output_block = 0;

  std::int64_t group_channels() const { return channels / groups; }
  std::int64_t group_filters() const { return filters / groups; }
  std::int64_t input_plane() const { return rows.input * columns.input; }
  std::int64_t output_plane() const { return rows.output * columns.output; }
  /// Elements of one filter, and of all.
  std::int64_t filter() const { return group_channels() * rows.window * columns.window; }
  std::int64_t kernel() const { return filters * filter(); }
  /// Multiply-adds of one image; the three products do the same.
  std::int64_t work() const { return kernel() * output_plane(); }
};

/// What becomes of a convolution's elements while they are in cache: y = relu(add + (x * kernel + bias)), in this
/// order.
template <typename T>
struct Ending {
  /// One for each filter, or none.
  const T* bias = nullptr;
  /// Like y, or none.
  const T* add = nullptr;
  bool relu = false;
};

/// y = x * kernel, and what comes behind it. f32 and f64, as all three; bit-equal for any number of threads.
template <typename T>
void forward(const Sizes& sizes, const T* x, const T* kernel, const Ending<T>& ending, T* y);
/// What comes back to x of g, the gradient of y.
template <typename T>
void input_gradient(const Sizes& sizes, const T* g, const T* kernel, T* dx);
/// And to the kernel.
template <typename T>
void kernel_gradient(const Sizes& sizes, const T* x, const T* g, T* dk);

/// The three.
enum class Product : std::int64_t { forward, input_gradient, kernel_gradient };
/// The same sizes with images and outputs in the blocks, or planes, that spare the product's kernel to turn them.
Sizes in_liked_blocks(Product product, const Sizes& sizes, DType dtype);
/// Bytes that one takes while it runs, on all threads together.
std::int64_t scratch_bytes(Product product, const Sizes& sizes, DType dtype);

constexpr std::int64_t kParts = 16;  // of the images, whose sums of kernel gradients are added at the end

/// Finishes planes of n elements that are `stride` apart, the first of which is `filter`'s; `ending.add` lies as y
/// does. NaN stays.
template <typename T>
void finish_planes(const Ending<T>& ending, std::int64_t filter, std::int64_t planes, std::int64_t n,
                   std::int64_t stride, T* y) {
  const T* add = ending.add;
  for (std::int64_t plane = 0; plane < planes; ++plane, y += stride) {
    if (ending.bias) {
      const T by = ending.bias[filter + plane];
      for (std::int64_t k = 0; k < n; ++k) y[k] = y[k] + by;
    }
    if (add) {
      for (std::int64_t k = 0; k < n; ++k) y[k] = add[k] + y[k];
      add += stride;
    }
    if (ending.relu)
      for (std::int64_t k = 0; k < n; ++k) y[k] = y[k] <= 0 ? T{0} : y[k];
  }
}

/// The sum of so many arrays that lie one after another, in this order.
template <typename T>
void add_parts(const T* sums, std::int64_t parts, std::int64_t size, T* to) {
  std::fill_n(to, size, T{0});
  for (std::int64_t part = 0; part < parts; ++part)
    for (std::int64_t k = 0; k < size; ++k) to[k] += sums[part * size + k];
}

}  // namespace twopass::convolution
