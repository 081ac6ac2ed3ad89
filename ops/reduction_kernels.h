// The one kernel of all reductions: a fixed tree over tiles, so that results depend on sizes alone.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include <twopass/core/threads.h>
#include <twopass/ops/record.h>

namespace twopass::reduction {

/// The arguments of reductions over any axes.
struct ReduceArgs {
  std::vector<std::int64_t> axes{};
  bool keep = false;
  static constexpr auto fields = std::tuple{field("axes", &ReduceArgs::axes), field("keep", &ReduceArgs::keep)};
};

/// Which axes are reduced: one flag per axis. Refuses axes that are not there or named twice.
std::array<bool, kMaxRank> reduced_axes(const Shape& shape, const std::vector<std::int64_t>& axes);
/// The shape that is left.
Shape reduced_shape(const Shape& shape, const std::vector<std::int64_t>& axes, bool keep);
/// Rows stay apart where the first axis is not reduced: OpRecord::rows of reductions.
template <typename Args>
unsigned rows_apart(const Args& args, const Specs& in) {
  return in.shape(0).rank() > 0 && !reduced_axes(in.shape(0), args.axes)[0] ? 1 : 0;
}
/// Whether all axes but the first are reduced.
bool whole_rows(const Shape& shape, const std::vector<std::int64_t>& axes);
/// How many elements meet in one; refuses open axes.
std::int64_t reduced_count(const Shape& shape, const std::vector<std::int64_t>& axes);
/// g of the reduced shape in the shape of what was reduced.
Tensor spread(const Tensor& g, const Shape& shape, const std::vector<std::int64_t>& axes);
/// g of the reduced shape with its reduced axes back as size 1.
Tensor kept(const Tensor& g, const Shape& shape, const std::vector<std::int64_t>& axes);

/// OpRecord::in_blocks of sums and means: channels that are kept come out in order, if no places are kept.
std::optional<InBlocks> sums_in_blocks(const Op& op, const ReduceArgs& args, const Specs& in,
                                       const ChannelBlocks& wanted);

/// The arguments for x, whose first axis counts calls, and x, which has an axis to reduce: see OpRecord::stacked.
std::pair<ReduceArgs, Tensor> behind_first(const ReduceArgs& args, const Tensor& x);

/// The elements as [outer, count, inner] with the middle axis reduced, in place or, where reduced axes lie apart,
/// copied.
struct Fold {
  std::int64_t outer = 1;
  std::int64_t count = 1;
  std::int64_t inner = 1;
  const std::byte* bytes = nullptr;
  Buffer copy{};
};
Fold fold(const View& x, const std::vector<std::int64_t>& axes);
/// Bytes that this copies.
std::int64_t folded_bytes(const Spec& x, const std::vector<std::int64_t>& axes);
/// OpRecord::scratch of reductions: what is copied, and kDoubles and kNumbers (of the input's dtype) for each result.
template <typename Args, int kDoubles = 0, int kNumbers = 0>
std::int64_t folded_scratch(const Args& args, const Specs& in) {
  if (in.shape(0).open()) return 0;
  const std::int64_t results = reduced_shape(in.shape(0), args.axes, false).elements();
  return folded_bytes(in[0], args.axes) +
         results * (kDoubles * 8 + kNumbers * static_cast<std::int64_t>(size_of(in.dtype(0))));
}

/// Where kept axes lie between reduced ones (as channels between images and places): how many elements, or rows of
/// `inner` elements that are kept, lie one after another in the last axes that are reduced; the axes without these, and
/// which of them are reduced. Count 1: they don't, or are few.
struct Behind {
  std::int64_t count = 1, inner = 1;
  Shape before{};
  std::vector<std::int64_t> axes{};
};
Behind behind_kept(const Shape& shape, const std::vector<std::int64_t>& axes);

constexpr std::int64_t kLanes = 32;     // accumulators of a contiguous run
constexpr std::int64_t kLeaf = 512;     // elements that the leaf of the tree adds one after another, kLanes apart
constexpr std::int64_t kLeafRows = 16;  // rows, and then sums of rows, that the tree over rows joins one after another
constexpr std::int64_t kTileRows = kLeafRows * kLeafRows;  // of a tile
constexpr std::int64_t kStrip = 128;                       // columns that are reduced together
constexpr std::int64_t kWideStrip = 1024;                  // where their results are one row alone
constexpr std::int64_t kTile = 32768;                      // elements of one tile
constexpr std::int64_t kWorthWaking = 262144;  // elements from which threads that sleep are woken: as elementwise ops

// Joins lanes[0 … 2 Width - 1] into lanes[0], halves at a time.
template <std::int64_t Width, typename Sum, typename F>
void join_lanes(const F& f, Sum* lanes) {
  for (std::int64_t lane = 0; lane < Width; ++lane) lanes[lane] = f.join(lanes[lane], lanes[lane + Width]);
  if constexpr (Width > 1) join_lanes<Width / 2>(f, lanes);
}

// F has: `Sum zero() const`, `Sum load(T x, std::int64_t to) const` (what x counts for, in the output's element `to`)
// and `Sum join(Sum, Sum) const`.
template <typename Sum, typename T, typename F>
Sum reduce_run(const F& f, const T* x, std::int64_t n, std::int64_t to) {
  if (n > kLeaf) {
    const std::int64_t half = (n / 2 + kLeaf - 1) / kLeaf * kLeaf;
    const Sum left = reduce_run<Sum>(f, x, half, to);
    return f.join(left, reduce_run<Sum>(f, x + half, n - half, to));
  }
  Sum result = f.zero();
  std::int64_t k = 0;
  if (n >= kLanes) {
    Sum lanes[kLanes];
    for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] = f.load(x[lane], to);
    for (k = kLanes; k + kLanes <= n; k += kLanes)
      for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] = f.join(lanes[lane], f.load(x[k + lane], to));
    join_lanes<kLanes / 2>(f, lanes);
    result = lanes[0];
  }
  for (; k < n; ++k) result = f.join(result, f.load(x[k], to));
  return result;
}

// Joins rows to `sums`, one after another.
template <typename Sum, typename T, typename F>
void join_rows(const F& f, const T* x, std::int64_t rows, std::int64_t stride, std::int64_t width, std::int64_t to,
               Sum* sums) {
  std::int64_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    const T *a = x + row * stride, *b = a + stride, *c = b + stride, *d = c + stride;
    for (std::int64_t k = 0; k < width; ++k)
      sums[k] =
          f.join(f.join(f.join(f.join(sums[k], f.load(a[k], to + k)), f.load(b[k], to + k)), f.load(c[k], to + k)),
                 f.load(d[k], to + k));
  }
  for (; row < rows; ++row)
    for (std::int64_t k = 0; k < width; ++k) sums[k] = f.join(sums[k], f.load(x[row * stride + k], to + k));
}

// A tree whose nodes join kLeafRows others one after another, from the first row on: so a part of kLeafRows rows, or of
// a power of them, is a part of the tree wherever the rows are cut.
template <typename Sum, typename T, typename F>
void reduce_rows(const F& f, const T* x, std::int64_t rows, std::int64_t stride, std::int64_t width, std::int64_t to,
                 Sum* sums) {
  for (std::int64_t k = 0; k < width; ++k) sums[k] = f.zero();
  if (rows <= kLeafRows) return join_rows(f, x, rows, stride, width, to, sums);
  std::int64_t each = kLeafRows;
  while (each * kLeafRows < rows) each *= kLeafRows;
  Sum part[kWideStrip];
  for (std::int64_t first = 0; first < rows; first += each) {
    reduce_rows(f, x + first * stride, std::min(each, rows - first), stride, width, to, part);
    for (std::int64_t k = 0; k < width; ++k) sums[k] = f.join(sums[k], part[k]);
  }
}

template <typename Sum, typename F>
struct JoinOnly {
  const F& f;
  Sum zero() const { return f.zero(); }
  Sum load(Sum x, std::int64_t) const { return x; }
  Sum join(Sum a, Sum b) const { return f.join(a, b); }
};
template <typename Sum, typename F>
JoinOnly<Sum, F> join_only(const F& f) {
  return {f};
}
template <typename Sum, typename F>
JoinOnly<Sum, F> join_only(const JoinOnly<Sum, F>& f) {
  return f;
}

/// Calls `body(unit)` for each unit, several to a tile where units are small.
template <typename Body>
void for_units(std::int64_t units, std::int64_t elements_each, const Body& body) {
  const std::int64_t per_tile = std::max<std::int64_t>(1, kTile / std::max<std::int64_t>(1, elements_each));
  const auto do_tile = [&](std::int64_t tile) {
    const std::int64_t end = std::min(units, (tile + 1) * per_tile);
    for (std::int64_t unit = tile * per_tile; unit < end; ++unit) body(unit);
  };
  const bool large = units > kWorthWaking / std::max<std::int64_t>(1, elements_each);
  parallel_for((units + per_tile - 1) / per_tile, do_tile, large ? threads::Effort::large : threads::Effort::small);
}

/// Elements along the reduced axis in one tile, and how many tiles that makes of it.
inline std::int64_t tile_rows(std::int64_t inner) { return inner == 1 ? kTile : kTileRows; }
inline std::int64_t tiles_of(std::int64_t count, std::int64_t inner) {
  const std::int64_t rows = tile_rows(inner);
  return count <= rows + rows / 2 ? 1 : (count + rows - 1) / rows;
}

/// Reduces x [outer, count, inner] over its middle axis; `done(result, to)` turns a result into the output's element.
template <typename Sum, typename T, typename F, typename Result, typename Done>
void reduce(const F& f, const T* x, std::int64_t outer, std::int64_t count, std::int64_t inner, Result* out,
            const Done& done) {
  const std::int64_t width = std::min(inner, kWideStrip);
  if (outer == 0 || inner == 0) return;
  const std::int64_t rows = tile_rows(inner), tiles = tiles_of(count, inner);
  const std::int64_t strips = (inner + width - 1) / width;
  const Buffer memory = tiles > 1 ? Buffer(static_cast<std::size_t>(outer * tiles * inner) * sizeof(Sum)) : Buffer();
  Sum* const partial = reinterpret_cast<Sum*>(memory.data());
  const bool whole = tiles == 1 && strips == 1;  // each unit: short ones would spend their time on the divisions
  for_units(outer * tiles * strips, std::min(rows, count) * width, [&](std::int64_t unit) {
    const std::int64_t strip = whole ? 0 : unit % strips, tile = whole ? 0 : unit / strips % tiles,
                       o = whole ? unit : unit / strips / tiles;
    const std::int64_t column = strip * width, wide = std::min(width, inner - column);
    const std::int64_t first = tile * rows, high = tiles == 1 ? count : std::min(rows, count - first);
    const T* from = x + (o * count + first) * inner + column;
    Sum sums[kWideStrip];
    if (inner == 1)
      sums[0] = reduce_run<Sum>(f, from, high, o);
    else
      reduce_rows(f, from, high, inner, wide, o * inner + column, sums);
    if (tiles > 1)
      std::copy_n(sums, wide, partial + (o * tiles + tile) * inner + column);
    else
      for (std::int64_t k = 0; k < wide; ++k) out[o * inner + column + k] = done(sums[k], o * inner + column + k);
  });
  if (tiles > 1) reduce<Sum>(join_only<Sum>(f), partial, outer, tiles, inner, out, done);
}

struct Plain {
  template <typename Sum>
  Sum operator()(Sum sum, std::int64_t) const {
    return sum;
  }
};

/// The same with elements of type T read through a Fold.
template <typename Sum, typename T, typename F, typename Result, typename Done>
void reduce(const F& f, const Fold& folded, Result* out, const Done& done) {
  reduce<Sum>(f, reinterpret_cast<const T*>(folded.bytes), folded.outer, folded.count, folded.inner, out, done);
}

template <typename Sum>
struct Adding {
  Sum zero() const { return 0; }
  template <typename T>
  Sum load(T x, std::int64_t) const {
    return static_cast<Sum>(x);
  }
  Sum join(Sum a, Sum b) const { return a + b; }
};

/// The sums of x over axes. What lies side by side behind kept axes is added first, so that only its sums are copied.
template <typename Sum, typename T, typename Result, typename Done>
void add_up(const View& x, const std::vector<std::int64_t>& axes, Result* out, const Done& done) {
  const Behind behind = behind_kept(x.shape(), axes);
  if (behind.count == 1) return reduce<Sum, T>(Adding<Sum>(), fold(x, axes), out, done);
  const std::int64_t rows = behind.before.elements();
  const Buffer memory(static_cast<std::size_t>(rows) * sizeof(Sum));
  Sum* const sums = reinterpret_cast<Sum*>(memory.data());
  reduce<Sum>(Adding<Sum>(), x.data<T>(), rows / behind.inner, behind.count, behind.inner, sums, Plain());
  add_up<Sum, Sum>({memory.data(), &behind.before, dtype_of<Sum>()}, behind.axes, out, done);
}
/// Bytes that this takes.
std::int64_t added_bytes(const Spec& x, const std::vector<std::int64_t>& axes);

/// Distances to a mean each, to a power.
template <typename T, int kPower>
struct Distances : Adding<double> {
  const double* means;
  double load(T x, std::int64_t to) const {
    const double distance = static_cast<double>(x) - means[to];
    return kPower == 2 ? distance * distance : distance;
  }
};

}  // namespace twopass::reduction
