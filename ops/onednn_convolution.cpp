// Convolutions in the layouts that oneDNN likes best: a few images at a time are brought into them and back, in cache.
#include <algorithm>
#include <cstring>

#include <twopass/core/memory.h>
#include <twopass/core/threads.h>
#include <twopass/ops/onednn.h>
#include <twopass/ops/onednn_primitive.h>
#include <twopass/ops/vectors.h>

namespace twopass::onednn {
namespace {

using Part = convolution::Product;
using convolution::Sizes;
using Layout = dnnl::memory::desc;
using dnnl::algorithm;

constexpr std::int64_t kTileBytes = 512 << 10;  // of images and outputs: less than a second-level cache

// One of the three products on so many images: two operands in, one out, each brought from or to the layout that it has
// where oneDNN wants another.
struct Convolution {
  Primitive product;
  std::array<Primitive, 3> turn{};
  std::array<std::size_t, 3> bytes{};              // in oneDNN's layout; 0 where that is the one they have
  std::int64_t image_block = 0, output_block = 0;  // of that layout
  bool ready = false;

  // Bytes that run() takes; the second operand is arranged before where it is shared.
  std::int64_t scratch(bool shared) const {
    std::size_t all = product.scratch_bytes() + bytes[0] + (shared ? 0 : bytes[1]) + bytes[2];
    for (const Primitive& each : turn) all += each.scratch_bytes();
    return static_cast<std::int64_t>(all);
  }

  // Brings operand k into oneDNN's layout.
  Buffer arranged(std::size_t k, const float* plain) const {
    Buffer memory(bytes[k]);
    if (bytes[k]) {
      const void* const places[] = {plain, memory.data()};
      turn[k].run(places);
    }
    return memory;
  }

  // The second operand may have been arranged before.
  void run(const float* first, const float* second, const std::byte* second_arranged, float* to) const {
    const Buffer own_first = arranged(0, first), own_to(bytes[2]);
    const Buffer own_second = second_arranged ? Buffer() : arranged(1, second);
    const std::byte* const in_place = second_arranged ? second_arranged : own_second.data();
    const void* const places[] = {bytes[0] ? static_cast<const void*>(own_first.data()) : first,
                                  bytes[1] ? static_cast<const void*>(in_place) : second,
                                  bytes[2] ? static_cast<const void*>(own_to.data()) : to};
    product.run(places);
    const void* const back[] = {own_to.data(), to};
    if (bytes[2]) turn[2].run(back);
  }
};

struct Layouts {
  Layout image, kernel, output;
};

using Tag = dnnl::memory::format_tag;

constexpr std::pair<std::int64_t, Tag> kBlocked[] = {{16, Tag::nChw16c}, {8, Tag::nChw8c}};

Tag tag_of(std::int64_t block) {
  for (const auto& [size, tag] : kBlocked)
    if (size == block) return tag;
  return Tag::nchw;
}

std::int64_t block_of(const Layout& layout) {
  for (const auto& [size, tag] : kBlocked)
    if (layout.dims()[1] % size == 0 && layout == Layout(layout.dims(), layout.data_type(), tag)) return size;
  return 0;
}

// As the operands lie, or as oneDNN likes them.
Layouts layouts(const Sizes& s, std::int64_t images, dnnl::memory::data_type of_image,
                dnnl::memory::data_type of_kernel, dnnl::memory::data_type of_output, bool liked) {
  const dnnl::memory::dims kernel =
      s.groups == 1
          ? dnnl::memory::dims{s.filters, s.channels, s.rows.window, s.columns.window}
          : dnnl::memory::dims{s.groups, s.group_filters(), s.group_channels(), s.rows.window, s.columns.window};
  return {
      Layout({images, s.channels, s.rows.input, s.columns.input}, of_image, liked ? Tag::any : tag_of(s.image_block)),
      Layout(kernel, of_kernel,
             liked           ? Tag::any
             : s.groups == 1 ? Tag::oihw
                             : Tag::goihw),
      Layout({images, s.filters, s.rows.output, s.columns.output}, of_output,
             liked ? Tag::any : tag_of(s.output_block))};
}

// A primitive that copies one layout to another; none where they are the same.
Primitive turning(const Layout& from, const Layout& to) {
  const dnnl::reorder::primitive_desc description(engine(), from, engine(), to, attributes());
  return Primitive(dnnl::reorder(description), description, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

// `image` and `output` say which of the three operands these are.
Convolution with_turns(Primitive product, const std::array<Layout, 3>& inner, const std::array<Layout, 3>& plain,
                       std::size_t image, std::size_t output) {
  Convolution made{std::move(product)};
  made.image_block = block_of(inner[image]);
  made.output_block = block_of(inner[output]);
  made.ready = static_cast<bool>(made.product);
  for (std::size_t k = 0; k < 3 && made.ready; ++k) {
    if (inner[k] == plain[k]) continue;
    made.bytes[k] = inner[k].get_size();
    made.turn[k] = k == 2 ? turning(inner[k], plain[k]) : turning(plain[k], inner[k]);
    made.ready = static_cast<bool>(made.turn[k]);
  }
  return made;
}

Convolution make(Part part, const Sizes& s, std::int64_t images, bool bf16) {
  using Type = dnnl::memory::data_type;
  const Type low = bf16 ? Type::bf16 : Type::f32, high = Type::f32;
  const dnnl::memory::dims strides{s.rows.stride, s.columns.stride}, gaps{s.rows.spacing - 1, s.columns.spacing - 1},
      before{s.rows.before, s.columns.before}, after{s.rows.after(), s.columns.after()};
  const Layouts plain = layouts(s, images, high, high, high, false);
  const auto forward_of = [&](const Layouts& with) {
    return dnnl::convolution_forward::primitive_desc(
        {dnnl::prop_kind::forward_training, algorithm::convolution_direct, with.image, with.kernel, with.output,
         strides, gaps, before, after},
        attributes(), engine());
  };
  if (part == Part::forward) {
    const auto made = forward_of(layouts(s, images, low, low, high, true));
    return with_turns(Primitive(dnnl::convolution_forward(made), made,
                                {{DNNL_ARG_SRC, made.src_desc()},
                                 {DNNL_ARG_WEIGHTS, made.weights_desc()},
                                 {DNNL_ARG_DST, made.dst_desc()}}),
                      {made.src_desc(), made.weights_desc(), made.dst_desc()},
                      {plain.image, plain.kernel, plain.output}, 0, 2);
  }
  const auto hint = forward_of(layouts(s, images, low, low, low, true));
  if (part == Part::input_gradient) {
    const Layouts with = layouts(s, images, high, low, low, true);
    const dnnl::convolution_backward_data::primitive_desc made(
        {algorithm::convolution_direct, with.image, with.kernel, with.output, strides, gaps, before, after},
        attributes(), engine(), hint);
    return with_turns(Primitive(dnnl::convolution_backward_data(made), made,
                                {{DNNL_ARG_DIFF_DST, made.diff_dst_desc()},
                                 {DNNL_ARG_WEIGHTS, made.weights_desc()},
                                 {DNNL_ARG_DIFF_SRC, made.diff_src_desc()}}),
                      {made.diff_dst_desc(), made.weights_desc(), made.diff_src_desc()},
                      {plain.output, plain.kernel, plain.image}, 2, 0);
  }
  const Layouts with = layouts(s, images, low, high, low, true);
  const dnnl::convolution_backward_weights::primitive_desc made(
      {algorithm::convolution_direct, with.image, with.kernel, with.output, strides, gaps, before, after}, attributes(),
      engine(), hint);
  return with_turns(Primitive(dnnl::convolution_backward_weights(made), made,
                              {{DNNL_ARG_SRC, made.src_desc()},
                               {DNNL_ARG_DIFF_DST, made.diff_dst_desc()},
                               {DNNL_ARG_DIFF_WEIGHTS, made.diff_weights_desc()}}),
                    {made.src_desc(), made.diff_dst_desc(), made.diff_weights_desc()},
                    {plain.image, plain.output, plain.kernel}, 0, 1);
}

const Convolution& prepared(Part part, const Sizes& s, std::int64_t images, bool bf16) {
  const auto& r = s.rows;
  const auto& c = s.columns;
  const Key<20> key{static_cast<std::int64_t>(part),
                    bf16,
                    images,
                    s.channels,
                    s.filters,
                    s.groups,
                    s.image_block,
                    s.output_block,
                    r.input,
                    r.window,
                    r.output,
                    r.stride,
                    r.before,
                    r.spacing,
                    c.input,
                    c.window,
                    c.output,
                    c.stride,
                    c.before,
                    c.spacing};
  return cached<Convolution>(key, [&] { return make(part, s, images, bf16); });
}

// finish_planes for n places of each of an image's blocks.
void finish_blocks(const convolution::Ending<float>& ending, std::int64_t filters, std::int64_t block, std::int64_t n,
                   float* y) {
  using V = kernels::Floats;
  constexpr std::int64_t kWidth = kernels::kWidth<V>;
  const float* add = ending.add;
  for (std::int64_t first = 0; first < filters; first += block)
    for (std::int64_t place = 0; place < n; ++place)
      for (std::int64_t k = first; k < first + block; k += kWidth, y += kWidth) {
        V each = kernels::load<V>(y);
        if (ending.bias) each = each + kernels::load<V>(ending.bias + k);
        if (add) {
          each = kernels::load<V>(add) + each;
          add += kWidth;
        }
        if (ending.relu) each = each <= 0 ? V{} : each;
        std::memcpy(y, &each, sizeof each);
      }
}

// Blocks of other sizes are not known here, nor those that no vector fits into.
bool can_do(const Sizes& s) {
  const auto known = [](std::int64_t block) {
    return block == 0 || (tag_of(block) != Tag::nchw && block % kernels::kWidth<kernels::Floats> == 0);
  };
  return usable() && s.images > 0 && known(s.image_block) && known(s.output_block);
}

// Calls f(first image, images) for tiles that fit in cache, on the pool's threads.
template <typename F>
void for_tiles(std::int64_t images, std::int64_t each, const F& f) {
  parallel_for((images + each - 1) / each,
               [&](std::int64_t tile) { f(tile * each, std::min(each, images - tile * each)); });
}

std::int64_t images_at_once(const Sizes& s) {
  const std::int64_t bytes = 4 * (s.channels * s.input_plane() + s.filters * s.output_plane());
  return std::clamp<std::int64_t>(kTileBytes / std::max<std::int64_t>(1, bytes), 1,
                                  std::max<std::int64_t>(1, s.images));
}

// Forward or input gradient: `from` images become `to`, by one kernel, which is arranged once for tiles of each size.
template <typename Finish>
bool by_tiles(Part part, const Sizes& s, bool bf16, const float* from, std::int64_t from_size, const float* kernel,
              float* to, std::int64_t to_size, const Finish& finish) {
  if (!can_do(s)) return false;
  const std::int64_t each = images_at_once(s), rest = s.images % each;
  Buffer kernels[2];
  {
    const OneThread one;
    for (const std::int64_t images : {each, rest}) {
      if (images == 0) continue;
      const Convolution& convolution = prepared(part, s, images, bf16);
      if (!convolution.ready) return false;
      kernels[images == rest] = convolution.arranged(1, kernel);
    }
  }
  for_tiles(s.images, each, [&](std::int64_t first, std::int64_t images) {
    const OneThread one;
    prepared(part, s, images, bf16)
        .run(from + first * from_size, kernel, kernels[images == rest].data(), to + first * to_size);
    finish(to + first * to_size, images);
  });
  return true;
}

}  // namespace

bool forward(const Sizes& sizes, bool bf16, const float* x, const float* kernel,
             const convolution::Ending<float>& ending, float* y) {
  const std::int64_t plane = sizes.output_plane(), output = sizes.filters * plane;
  return by_tiles(Part::forward, sizes, bf16, x, sizes.channels * sizes.input_plane(), kernel, y, output,
                  [&](float* made, std::int64_t images) {
                    for (std::int64_t image = 0; image < images; ++image, made += output) {
                      convolution::Ending<float> here = ending;
                      if (here.add) here.add += made - y;
                      if (sizes.output_block)
                        finish_blocks(here, sizes.filters, sizes.output_block, plane, made);
                      else
                        convolution::finish_planes(here, 0, sizes.filters, plane, plane, made);
                    }
                  });
}

bool input_gradient(const Sizes& sizes, bool bf16, const float* g, const float* kernel, float* dx) {
  return by_tiles(Part::input_gradient, sizes, bf16, g, sizes.filters * sizes.output_plane(), kernel, dx,
                  sizes.channels * sizes.input_plane(), [](float*, std::int64_t) {});
}

bool kernel_gradient(const Sizes& sizes, bool bf16, const float* x, const float* g, float* dk) {
  if (!can_do(sizes)) return false;
  const std::int64_t each = (sizes.images + convolution::kParts - 1) / convolution::kParts, rest = sizes.images % each;
  {
    const OneThread one;
    for (const std::int64_t images : {each, rest})
      if (images > 0 && !prepared(Part::kernel_gradient, sizes, images, bf16).ready) return false;
  }
  const std::int64_t parts = (sizes.images + each - 1) / each, size = sizes.kernel();
  const Buffer memory(static_cast<std::size_t>(parts * size) * sizeof(float));
  float* const sums = reinterpret_cast<float*>(memory.data());
  for_tiles(sizes.images, each, [&](std::int64_t first, std::int64_t images) {
    const OneThread one;
    prepared(Part::kernel_gradient, sizes, images, bf16)
        .run(x + first * sizes.channels * sizes.input_plane(), g + first * sizes.filters * sizes.output_plane(),
             nullptr, sums + first / each * size);
  });
  convolution::add_parts(sums, parts, size, dk);
  return true;
}

Sizes in_liked_blocks(Part product, const Sizes& sizes, bool bf16) {
  Sizes liked = sizes;
  if (!usable() || sizes.images == 0) return liked;
  const OneThread one;
  const Convolution& found = prepared(product, sizes, images_at_once(sizes), bf16);
  if (!found.ready) return liked;
  liked.image_block = found.image_block;
  liked.output_block = found.output_block;
  return can_do(liked) ? liked : sizes;
}

std::optional<std::int64_t> scratch_bytes(Part product, const Sizes& sizes, bool bf16) {
  if (!can_do(sizes)) return std::nullopt;
  const bool summed = product == Part::kernel_gradient;
  const std::int64_t each =
      summed ? (sizes.images + convolution::kParts - 1) / convolution::kParts : images_at_once(sizes);
  const std::int64_t tiles = (sizes.images + each - 1) / each;
  const OneThread one;
  const Convolution& whole = prepared(product, sizes, each, bf16);
  if (!whole.ready) return std::nullopt;
  const auto kernels = static_cast<std::int64_t>(whole.bytes[1]) * (sizes.images % each == 0 ? 1 : 2);
  return std::min<std::int64_t>(threads::count(), tiles) * whole.scratch(!summed) +
         (summed ? tiles * sizes.kernel() * std::int64_t{sizeof(float)} : kernels);
}

}  // namespace twopass::onednn
