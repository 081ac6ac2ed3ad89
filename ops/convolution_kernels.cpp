// By products: the places that a kernel sees become the rows of a matrix, a cache's fill of outputs at a time.
#include <twopass/ops/convolution_kernels.h>

#include <algorithm>
#include <optional>

#include <twopass/core/memory.h>
#include <twopass/core/threads.h>
#include <twopass/ops/gemm.h>
#include <twopass/ops/onednn.h>
#include <twopass/ops/precision.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/shaping_kernels.h>

namespace twopass::convolution {
namespace {

constexpr std::int64_t kPatchBytes = 192 << 10;  // of the matrix of places: less than a second-level cache

// Rows of outputs whose places are laid out together.
template <typename T>
std::int64_t rows_at_once(const Sizes& sizes) {
  const std::int64_t row_bytes = sizes.filter() * sizes.columns.output * static_cast<std::int64_t>(sizeof(T));
  return std::clamp<std::int64_t>(kPatchBytes / std::max<std::int64_t>(1, row_bytes), 1, sizes.rows.output);
}

template <typename T>
Buffer patch_memory(const Sizes& sizes) {
  return Buffer(static_cast<std::size_t>(sizes.filter() * rows_at_once<T>(sizes) * sizes.columns.output) * sizeof(T));
}

// Calls f(row of the matrix, channel, window row, window column) for each place of a filter.
template <typename F>
void for_places(const Sizes& sizes, const F& f) {
  std::int64_t place = 0;
  for (std::int64_t channel = 0; channel < sizes.group_channels(); ++channel)
    for (std::int64_t i = 0; i < sizes.rows.window; ++i)
      for (std::int64_t j = 0; j < sizes.columns.window; ++j) f(place++, channel, i, j);
}

// What each place of a filter sees from output rows first … first+count-1 of the image, [filter, count * columns].
template <typename T>
void lay_out(const Sizes& sizes, const T* image, std::int64_t first, std::int64_t count, T* patches) {
  const auto &rows = sizes.rows, &columns = sizes.columns;
  for_places(sizes, [&](std::int64_t place, std::int64_t channel, std::int64_t i, std::int64_t j) {
    const std::int64_t low = columns.first(j), high = std::max(low, columns.end(j));
    T* to = patches + place * count * columns.output;
    for (std::int64_t row = first; row < first + count; ++row, to += columns.output) {
      if (row < rows.first(i) || row >= rows.end(i)) {
        std::fill_n(to, columns.output, T{0});
        continue;
      }
      const T* const line =
          image + (channel * rows.input + row * rows.stride - rows.before + i * rows.spacing) * columns.input;
      const std::int64_t shift = j * columns.spacing - columns.before;
      std::fill_n(to, low, T{0});
      if (columns.stride == 1)
        std::copy(line + (low + shift), line + (high + shift), to + low);
      else
        for (std::int64_t at = low; at < high; ++at) to[at] = line[at * columns.stride + shift];
      std::fill(to + high, to + columns.output, T{0});
    }
  });
}

// The other way: adds the matrix to the places of the image that were seen.
template <typename T>
void add_back(const Sizes& sizes, const T* patches, std::int64_t first, std::int64_t count, T* image) {
  const auto &rows = sizes.rows, &columns = sizes.columns;
  for_places(sizes, [&](std::int64_t place, std::int64_t channel, std::int64_t i, std::int64_t j) {
    const std::int64_t low = columns.first(j), high = columns.end(j);
    const T* from = patches + place * count * columns.output;
    for (std::int64_t row = first; row < first + count; ++row, from += columns.output) {
      if (row < rows.first(i) || row >= rows.end(i)) continue;
      T* const line =
          image + (channel * rows.input + row * rows.stride - rows.before + i * rows.spacing) * columns.input;
      const std::int64_t shift = j * columns.spacing - columns.before;
      if (columns.stride == 1)
        for (std::int64_t at = low; at < high; ++at) line[at + shift] += from[at];
      else
        for (std::int64_t at = low; at < high; ++at) line[at * columns.stride + shift] += from[at];
    }
  });
}

// Whether the image itself is the matrix.
bool pointwise(const Sizes& sizes) {
  const auto plain = [](const windows::Axis& axis) {
    return axis.window == 1 && axis.stride == 1 && axis.before == 0 && axis.output == axis.input;
  };
  return plain(sizes.rows) && plain(sizes.columns);
}

// Calls f(group, its channels' place in the image, its filters' place in the output, first row, rows).
template <typename T, typename F>
void for_strips(const Sizes& sizes, const F& f) {
  const std::int64_t step = pointwise(sizes) ? sizes.rows.output : rows_at_once<T>(sizes);
  for (std::int64_t group = 0; group < sizes.groups; ++group)
    for (std::int64_t row = 0; row < sizes.rows.output; row += step)
      f(group, group * sizes.group_channels() * sizes.input_plane(),
        group * sizes.group_filters() * sizes.output_plane() + row * sizes.columns.output, row,
        std::min(step, sizes.rows.output - row));
}

bool in_bf16() { return products_precision() == Precision::bf16; }

template <typename Body>
void for_images(const Sizes& sizes, const Body& body) {
  reduction::for_units(sizes.images, std::max<std::int64_t>(1, sizes.work() / 32), body);
}

// Images whose channels may lie in blocks, brought into planes.
template <typename T>
struct Planes {
  Planes(const T* x, std::int64_t planes, std::int64_t plane, std::int64_t block)
      : memory(block && x ? static_cast<std::size_t>(planes * plane) * sizeof(T) : 0), data(x) {
    if (!block || !x) return;
    shaping::permute(reinterpret_cast<const std::byte*>(x), {planes / block, plane, block}, {0, 2, 1}, sizeof(T),
                     memory.data());
    data = reinterpret_cast<const T*>(memory.data());
  }
  Buffer memory;
  const T* data;
};

// f(planes) fills images in planes, which are brought into blocks.
template <typename T, typename F>
void into_blocks(T* to, std::int64_t planes, std::int64_t plane, std::int64_t block, const F& f) {
  if (!block) return f(to);
  const Buffer memory(static_cast<std::size_t>(planes * plane) * sizeof(T));
  f(reinterpret_cast<T*>(memory.data()));
  shaping::permute(memory.data(), {planes / block, block, plane}, {0, 2, 1}, sizeof(T),
                   reinterpret_cast<std::byte*>(to));
}

bool blocked(const Sizes& sizes) { return sizes.image_block || sizes.output_block; }

Sizes in_planes(Sizes sizes) {
  sizes.image_block = sizes.output_block = 0;
  return sizes;
}

template <typename T>
Planes<T> images_of(const Sizes& sizes, const T* x) {
  return {x, sizes.images * sizes.channels, sizes.input_plane(), sizes.image_block};
}
template <typename T>
Planes<T> outputs_of(const Sizes& sizes, const T* y) {
  return {y, sizes.images * sizes.filters, sizes.output_plane(), sizes.output_block};
}

}  // namespace

template <typename T>
void forward(const Sizes& sizes, const T* x, const T* kernel, const Ending<T>& ending, T* y) {
  if constexpr (std::is_same_v<T, float>)
    if (onednn::forward(sizes, in_bf16(), x, kernel, ending, y)) return;
  if (blocked(sizes)) {
    const Planes<T> image = images_of(sizes, x), add = outputs_of(sizes, ending.add);
    return into_blocks(y, sizes.images * sizes.filters, sizes.output_plane(), sizes.output_block, [&](T* made) {
      forward(in_planes(sizes), image.data, kernel, {ending.bias, add.data, ending.relu}, made);
    });
  }
  const std::int64_t filters = sizes.group_filters(), filter = sizes.filter(), plane = sizes.output_plane();
  const GemmOptions<T> options;  // of this thread, not of those that run tiles
  for_images(sizes, [&](std::int64_t index) {
    const T* const image = x + index * sizes.channels * sizes.input_plane();
    T* const output = y + index * sizes.filters * plane;
    const Buffer memory = pointwise(sizes) ? Buffer() : patch_memory<T>(sizes);
    T* const patches = reinterpret_cast<T*>(memory.data());
    for_strips<T>(sizes,
                  [&](std::int64_t group, std::int64_t from, std::int64_t to, std::int64_t row, std::int64_t count) {
                    const std::int64_t n = count * sizes.columns.output;
                    if (patches) lay_out(sizes, image + from, row, count, patches);
                    gemm(false, false, filters, n, filter, kernel + group * filters * filter, filter,
                         patches ? patches : image + from, n, output + to, plane, options);
                    Ending<T> here = ending;
                    if (here.add) here.add += output + to - y;
                    finish_planes(here, group * filters, filters, n, plane, output + to);
                  });
  });
}

template <typename T>
void input_gradient(const Sizes& sizes, const T* g, const T* kernel, T* dx) {
  if constexpr (std::is_same_v<T, float>)
    if (onednn::input_gradient(sizes, in_bf16(), g, kernel, dx)) return;
  if (blocked(sizes)) {
    const Planes<T> output = outputs_of(sizes, g);
    return into_blocks(dx, sizes.images * sizes.channels, sizes.input_plane(), sizes.image_block,
                       [&](T* made) { input_gradient(in_planes(sizes), output.data, kernel, made); });
  }
  const std::int64_t filters = sizes.group_filters(), filter = sizes.filter(), plane = sizes.output_plane();
  const GemmOptions<T> options;
  for_images(sizes, [&](std::int64_t index) {
    T* const image = dx + index * sizes.channels * sizes.input_plane();
    const T* const output = g + index * sizes.filters * plane;
    const Buffer memory = pointwise(sizes) ? Buffer() : patch_memory<T>(sizes);
    T* const patches = reinterpret_cast<T*>(memory.data());
    if (patches) std::fill_n(image, sizes.channels * sizes.input_plane(), T{0});
    for_strips<T>(sizes,
                  [&](std::int64_t group, std::int64_t from, std::int64_t to, std::int64_t row, std::int64_t count) {
                    const std::int64_t n = count * sizes.columns.output;
                    gemm(true, false, filter, n, filters, kernel + group * filters * filter, filter, output + to, plane,
                         patches ? patches : image + from, n, options);
                    if (patches) add_back(sizes, patches, row, count, image + from);
                  });
  });
}

template <typename T>
void kernel_gradient(const Sizes& sizes, const T* x, const T* g, T* dk) {
  if constexpr (std::is_same_v<T, float>)
    if (onednn::kernel_gradient(sizes, in_bf16(), x, g, dk)) return;
  if (blocked(sizes)) return kernel_gradient(in_planes(sizes), images_of(sizes, x).data, outputs_of(sizes, g).data, dk);
  const std::int64_t filters = sizes.group_filters(), filter = sizes.filter(), plane = sizes.output_plane();
  const std::int64_t each = (sizes.images + kParts - 1) / kParts;
  const std::int64_t parts = sizes.images == 0 ? 0 : (sizes.images + each - 1) / each, size = sizes.kernel();
  const Buffer memory(static_cast<std::size_t>(parts * size) * sizeof(T));
  T* const sums = reinterpret_cast<T*>(memory.data());
  const GemmOptions<T> options;
  parallel_for(parts, [&](std::int64_t part) {
    T* const own = sums + part * size;
    std::fill_n(own, size, T{0});
    const Buffer places = pointwise(sizes) ? Buffer() : patch_memory<T>(sizes);
    T* const patches = reinterpret_cast<T*>(places.data());
    for (std::int64_t index = part * each; index < std::min(sizes.images, (part + 1) * each); ++index) {
      const T* const image = x + index * sizes.channels * sizes.input_plane();
      const T* const output = g + index * sizes.filters * plane;
      for_strips<T>(sizes,
                    [&](std::int64_t group, std::int64_t from, std::int64_t to, std::int64_t row, std::int64_t count) {
                      const std::int64_t n = count * sizes.columns.output;
                      if (patches) lay_out(sizes, image + from, row, count, patches);
                      T* const gradient = own + group * filters * filter;
                      GemmOptions<T> adding = options;
                      adding.add = gradient;
                      adding.ldadd = filter;
                      gemm(false, true, filters, filter, n, output + to, plane, patches ? patches : image + from, n,
                           gradient, filter, adding);
                    });
    }
  });
  add_parts(sums, parts, size, dk);
}

std::int64_t scratch_bytes(Product product, const Sizes& sizes, DType dtype) {
  if (sizes.images == 0) return 0;
  if (const auto bytes = dtype == f32 ? onednn::scratch_bytes(product, sizes, in_bf16()) : std::nullopt) return *bytes;
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  if (blocked(sizes))
    return scratch_bytes(product, in_planes(sizes), dtype) +
           sizes.images * size *
               ((sizes.image_block ? sizes.channels * sizes.input_plane() : 0) +
                (sizes.output_block ? sizes.filters * sizes.output_plane() : 0));
  const std::int64_t rows = dtype == f32 ? rows_at_once<float>(sizes) : rows_at_once<double>(sizes);
  const std::int64_t patches = pointwise(sizes) ? 0 : sizes.filter() * rows * sizes.columns.output * size;
  const bool summed = product == Product::kernel_gradient;
  const std::int64_t parts = std::min(sizes.images, summed ? kParts : sizes.images);
  return std::min<std::int64_t>(threads::count(), parts) * patches + (summed ? parts * sizes.kernel() * size : 0);
}

Sizes in_liked_blocks(Product product, const Sizes& sizes, DType dtype) {
  return dtype == f32 ? onednn::in_liked_blocks(product, sizes, in_bf16()) : sizes;
}

template void forward(const Sizes&, const float*, const float*, const Ending<float>&, float*);
template void forward(const Sizes&, const double*, const double*, const Ending<double>&, double*);
template void input_gradient(const Sizes&, const float*, const float*, float*);
template void input_gradient(const Sizes&, const double*, const double*, double*);
template void kernel_gradient(const Sizes&, const float*, const float*, float*);
template void kernel_gradient(const Sizes&, const double*, const double*, double*);

}  // namespace twopass::convolution
