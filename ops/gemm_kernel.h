// The product of matrices on one thread: sums in registers, the right matrix in panels that stay in cache. The way of
// Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008). For gemm.cpp.
#pragma once
#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include <twopass/core/memory.h>
#include <twopass/ops/gemm.h>

namespace twopass::gemm_kernel {

template <typename T>
using Packet = typename Eigen::internal::packet_traits<T>::type;
template <typename T>
constexpr std::int64_t kLanes = Eigen::internal::packet_traits<T>::size;

constexpr int kMostPackets = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32 ? 4 : 2;
// So many rows that their sums and the packets of a panel's row fill the registers: sums wait for no other.
constexpr int rows_for(int packets) { return packets == 1 ? 12 : 6; }
constexpr std::int64_t kDepth = 512;      // a panel of four AVX-512 packets is 128 KiB then: half of a small L2
constexpr std::int64_t kBetween = 4;      // terms between what is asked for ahead of its use
constexpr std::int64_t kNear = 32 << 10;  // bytes of first-level cache

template <typename T>
constexpr std::int64_t kColumns = kMostPackets* kLanes<T>;

// Elements with steps from one row (or column) to the next, and from one term of the sums to the next.
template <typename T>
struct Strided {
  const T* data;
  std::int64_t across, along;
};

// The options of the part of c that begins at a row and a column of it.
template <typename T>
GemmOptions<T> options_at(GemmOptions<T> options, std::int64_t row, std::int64_t column) {
  if (options.bias) options.bias += column;
  if (options.add) options.add += row * options.ldadd + column;
  return options;
}

// Whether the options change nothing.
template <typename T>
bool plain(const GemmOptions<T>& options) {
  return options.alpha == T{1} && !options.bias && !options.add && !options.relu;
}

// What becomes of a packet of sums, or of one, of column `at`; NaN passes relu.
template <typename T>
Packet<T> finished(const Packet<T>& sums, const GemmOptions<T>& options, const T* add, std::int64_t at) {
  using namespace Eigen::internal;
  const Packet<T> zero = pset1<Packet<T>>(T{0});
  Packet<T> value = pmul(pset1<Packet<T>>(options.alpha), sums);
  if (options.bias) value = padd(value, ploadu<Packet<T>>(options.bias + at));
  if (add) value = padd(ploadu<Packet<T>>(add + at), value);
  return options.relu ? pselect(pcmp_le(value, zero), zero, value) : value;
}
template <typename T>
T finished_one(T sum, const GemmOptions<T>& options, const T* add, std::int64_t at) {
  T value = options.alpha * sum;
  if (options.bias) value = value + options.bias[at];
  if (add) value = add[at] + value;
  return options.relu && value <= 0 ? T{0} : value;
}

// A row of c from its sums, which may be where c is.
template <typename T>
void finish_row(const T* sums, T* c, std::int64_t n, const GemmOptions<T>& options) {
  using namespace Eigen::internal;
  std::int64_t j = 0;
  for (; j + kLanes<T> <= n; j += kLanes<T>)
    pstoreu(c + j, finished<T>(ploadu<Packet<T>>(sums + j), options, options.add, j));
  for (; j < n; ++j) c[j] = finished_one(sums[j], options, options.add, j);
}
template <typename T>
void finish_rows(const T* sums, std::int64_t stride, std::int64_t m, std::int64_t n, T* c, std::int64_t ldc,
                 const GemmOptions<T>& options) {
  for (std::int64_t row = 0; row < m; ++row)
    finish_row(sums + row * stride, c + row * ldc, n, options_at(options, row, 0));
}

// The same for all of c from its transposed sums, whose rows are `stride` apart; c has kNarrow columns at most.
constexpr std::int64_t kNarrow = 24;  // columns that fill few vector lanes
template <typename T>
void finish_turned(const T* sums, std::int64_t stride, std::int64_t m, std::int64_t n, T* c, std::int64_t ldc,
                   const GemmOptions<T>& options) {
  using namespace Eigen::internal;
  constexpr std::int64_t L = kLanes<T>;
  T strip[L * kNarrow + L];  // so many rows of c
  // A bias is added to columns as they are here, the rest is done to rows.
  GemmOptions<T> rest = options;
  if (options.bias) {
    rest.alpha = 1;
    rest.bias = nullptr;
  }
  const Packet<T> alpha = pset1<Packet<T>>(options.alpha);
  const bool one_run = ldc == n && (!options.add || options.ldadd == n);
  for (std::int64_t i = 0; i < m; i += L) {
    const std::int64_t rows = std::min(L, m - i);
    // The last columns first: what a packet has beyond its row is overwritten by the next row's first ones.
    for (std::int64_t j = rows == L ? (n - 1) / L * L : -1; j >= 0; j -= L) {
      PacketBlock<Packet<T>, static_cast<int>(L)> square;
      for (std::int64_t l = 0; l < L; ++l)
        square.packet[l] = j + l < n ? ploadu<Packet<T>>(sums + (j + l) * stride + i) : pset1<Packet<T>>(T{0});
      for (std::int64_t l = 0; options.bias && l < std::min(L, n - j); ++l)
        square.packet[l] = padd(pmul(alpha, square.packet[l]), pset1<Packet<T>>(options.bias[j + l]));
      ptranspose(square);
      for (std::int64_t r = 0; r < L; ++r) pstoreu(strip + r * n + j, square.packet[r]);
    }
    for (std::int64_t j = 0; rows < L && j < n; ++j)
      for (std::int64_t r = 0; r < rows; ++r) {
        const T sum = sums[j * stride + i + r];
        strip[r * n + j] = options.bias ? options.alpha * sum + options.bias[j] : sum;
      }
    if (one_run) {
      finish_row(strip, c + i * n, rows * n, options_at(rest, i, 0));
      continue;
    }
    for (std::int64_t r = 0; r < rows; ++r) finish_row(strip + r * n, c + (i + r) * ldc, n, options_at(rest, i + r, 0));
  }
}

// The next panel, which is asked for while sums are made: lines of `width` elements, `step` apart.
template <typename T>
struct Ahead {
  const T* data = nullptr;
  std::int64_t lines = 0, width = 0, step = 0;
  std::int64_t at_once = 0, at = 0;  // lines of the cache, elements

  static constexpr std::int64_t kLine = 64 / sizeof(T);
  // All of it in so many times.
  void within(std::int64_t times) { at_once = (lines * ((width + kLine - 1) / kLine) + times - 1) / times; }
  void ask() {
    for (std::int64_t count = 0; count < at_once && lines > 0; ++count) {
      __builtin_prefetch(data + at, 0, 2);
      if ((at += kLine) < width) continue;
      at = 0;
      data += step;
      --lines;
    }
  }
};

// R rows by V packets of c, overwritten or, where there is `more` than these terms, added to; `ending` comes with the
// last terms, where there is anything to do. If it packs, rows of b are written to `packed` one after another, too.
template <typename T, int R, int V, bool Packs = false>
void block(std::int64_t depth, const Strided<T>& a, const Strided<T>& b, T* c, std::int64_t ldc, bool more,
           const GemmOptions<T>* ending, Ahead<T>& ahead, T* packed) {
  using namespace Eigen::internal;
  // Unrolled, so that sums are in registers throughout: no loop over them is left.
  Packet<T> sums[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      sums[r][v] = more ? ploadu<Packet<T>>(c + r * ldc + v * kLanes<T>) : pset1<Packet<T>>(T{0});
  const T* from[R];
  for (int r = 0; r < R; ++r) from[r] = a.data + r * a.across;
  const T* row = b.data;
  // What comes behind the sums is asked for during the first of them, a row at a time: the processor waits for a free
  // place where too much is asked for at once.
  std::int64_t p = 0;
  for (int asked = 0; asked <= R; ++asked) {
    if (asked < R) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        if (ending && ending->add) __builtin_prefetch(ending->add + asked * ending->ldadd + v * kLanes<T>, 0);
        if (!more) __builtin_prefetch(c + asked * ldc + v * kLanes<T>, 1);
      }
      if constexpr (R == rows_for(kMostPackets) && V == kMostPackets) ahead.ask();
    }
    const std::int64_t until = asked < R ? std::min(depth, p + kBetween) : depth;
    for (; p < until; ++p) {
      Packet<T> right[V];
      for (int v = 0; v < V; ++v) right[v] = ploadu<Packet<T>>(row + v * kLanes<T>);
      row += b.along;
      if constexpr (Packs) {
        for (int v = 0; v < V; ++v) pstoreu(packed + v * kLanes<T>, right[v]);
        packed += V * kLanes<T>;
      }
      for (int r = 0; r < R; ++r) {
        const Packet<T> left = pset1<Packet<T>>(*from[r]);
        from[r] += a.along;
        for (int v = 0; v < V; ++v) sums[r][v] = pmadd(left, right[v], sums[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const T* const add = ending && ending->add ? ending->add + r * ending->ldadd : nullptr;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      pstoreu(c + r * ldc + v * kLanes<T>, ending ? finished<T>(sums[r][v], *ending, add, v * kLanes<T>) : sums[r][v]);
  }
}

template <typename T>
using Block = void (*)(std::int64_t, const Strided<T>&, const Strided<T>&, T*, std::int64_t, bool,
                       const GemmOptions<T>*, Ahead<T>&, T*);

template <typename T, int V, int... R>
constexpr std::array<Block<T>, sizeof...(R)> blocks_of(std::integer_sequence<int, R...>) {
  return {&block<T, R + 1, V>...};
}

// The block of so many rows and packets.
template <typename T, int V = kMostPackets>
Block<T> block_for(int rows, int packets) {
  static constexpr auto blocks = blocks_of<T, V>(std::make_integer_sequence<int, rows_for(V)>());
  if constexpr (V > 1)
    if (packets != V) return block_for<T, V - 1>(rows, packets);
  return blocks[static_cast<std::size_t>(rows - 1)];
}

// `width` columns of b as rows of whole packets, filled up with zeros.
template <typename T>
void pack_columns(std::int64_t depth, std::int64_t width, Strided<T> b, T* panel) {
  using namespace Eigen::internal;
  constexpr std::int64_t L = kLanes<T>;
  const std::int64_t stride = (width + L - 1) / L * L;
  if (b.across == 1) {
    for (std::int64_t p = 0; p < depth; ++p, panel += stride) {
      std::copy_n(b.data + p * b.along, width, panel);
      std::fill(panel + width, panel + stride, T{0});
    }
    return;
  }
  for (std::int64_t j = 0; j < stride; j += L) {
    std::int64_t p = 0;
    if (b.along == 1 && j + L <= width)
      for (; p + L <= depth; p += L) {
        PacketBlock<Packet<T>, static_cast<int>(L)> square;
        for (std::int64_t l = 0; l < L; ++l) square.packet[l] = ploadu<Packet<T>>(b.data + (j + l) * b.across + p);
        ptranspose(square);
        for (std::int64_t l = 0; l < L; ++l) pstoreu(panel + (p + l) * stride + j, square.packet[l]);
      }
    for (; p < depth; ++p)
      for (std::int64_t l = 0; l < L; ++l)
        panel[p * stride + j + l] = j + l < width ? b.data[(j + l) * b.across + p * b.along] : T{0};
  }
}

// Rows of a, so many side by side for each term.
constexpr std::int64_t kGroup = rows_for(1);
template <typename T>
void pack_rows(std::int64_t rows, std::int64_t depth, Strided<T> a, T* packed) {
  std::int64_t i = 0;
  // Four groups at once where they lie side by side: whole lines of memory.
  if (a.across == 1)
    for (; i + 4 * kGroup <= rows; i += 4 * kGroup, packed += 4 * kGroup * depth) {
      const T* from = a.data + i;
      for (std::int64_t p = 0; p < depth; ++p, from += a.along)
        for (std::int64_t group = 0; group < 4; ++group)
          std::copy_n(from + group * kGroup, kGroup, packed + (group * depth + p) * kGroup);
    }
  for (; i < rows; i += kGroup) {
    const std::int64_t height = std::min(kGroup, rows - i);
    const T* from = a.data + i * a.across;
    for (std::int64_t p = 0; p < depth; ++p, from += a.along, packed += kGroup)
      for (std::int64_t r = 0; r < height; ++r) packed[r] = from[r * a.across];
  }
}

// One panel of c. Columns that do not fill their last packet go through memory of their own. The first block of rows
// writes the panel `to` where that is asked for, and the others read it there.
template <typename T>
void multiply_panel(std::int64_t m, std::int64_t width, std::int64_t depth, const Strided<T>& a, bool packed,
                    Strided<T> panel, T* to, T* c, std::int64_t ldc, bool more, const GemmOptions<T>* ending,
                    Ahead<T> ahead) {
  const std::int64_t packets = (width + kLanes<T> - 1) / kLanes<T>, stride = packets * kLanes<T>;
  const std::int64_t step = rows_for(static_cast<int>(packets));
  alignas(64) T edge[kGroup * kColumns<T>];
  if (width != stride) std::fill_n(edge, step * stride, T{0});  // the lanes beyond the last column are read too
  ahead.within(std::max<std::int64_t>(1, m / step) * step);
  for (std::int64_t i = 0, rows = 0; i < m; i += rows) {
    rows = std::min(step, m - i);
    // The last two groups are equal, as a few rows alone leave the processor waiting for their sums.
    const bool side_by_side = !packed || i / kGroup == (m - 1) / kGroup;
    if (side_by_side && m - i > step && m - i < 2 * step) rows = (m - i + 1) / 2;
    const Strided<T> left = packed ? Strided<T>{a.data + i / kGroup * kGroup * depth + i % kGroup, 1, kGroup}
                                   : Strided<T>{a.data + i * a.across, a.across, a.along};
    const Block<T> run = to && i == 0 ? &block<T, rows_for(kMostPackets), kMostPackets, true>
                                      : block_for<T>(static_cast<int>(rows), static_cast<int>(packets));
    T* const here = c + i * ldc;
    if (width == stride) {
      const GemmOptions<T> options = ending ? options_at(*ending, i, 0) : GemmOptions<T>{};
      run(depth, left, panel, here, ldc, more, ending ? &options : nullptr, ahead, to);
      if (to) panel = {to, 1, stride};
      continue;
    }
    if (more)
      for (std::int64_t r = 0; r < rows; ++r) std::copy_n(here + r * ldc, width, edge + r * stride);
    run(depth, left, panel, edge, stride, more, nullptr, ahead, nullptr);
    for (std::int64_t r = 0; r < rows; ++r)
      if (ending)
        finish_row(edge + r * stride, here + r * ldc, width, options_at(*ending, i + r, 0));
      else
        std::copy_n(edge + r * stride, width, here + r * ldc);
  }
}

// Which operands are packed: rows that lie apart, and panels that do or that do not fill their last packet.
template <typename T>
struct Packing {
  std::int64_t depth;
  bool rows, panels, edge;

  Packing(std::int64_t m, std::int64_t n, std::int64_t k, const Strided<T>& a, const Strided<T>& b)
      : depth(std::min(k, kDepth)),
        rows(a.along != 1 && n > kColumns<T> && depth * a.along * std::int64_t{sizeof(T)} > kNear),
        panels(b.across != 1 || (m > kGroup && depth * b.along * std::int64_t{sizeof(T)} > kNear)),
        edge(n % kLanes<T> != 0) {}
  std::size_t row_bytes(std::int64_t m) const {
    return rows ? static_cast<std::size_t>((m + kGroup - 1) / kGroup * kGroup * depth) * sizeof(T) : 0;
  }
  std::size_t panel_bytes() const {
    return panels || edge ? static_cast<std::size_t>(depth * kColumns<T>) * sizeof(T) : 0;
  }
};

// c = a b for m, n, k > 0; `a` steps across rows, `b` across columns. An element's sum has one order, whatever part of
// c is asked for. What is added may be c only where k is kDepth at most: else c holds sums that are not finished.
template <typename T>
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, Strided<T> a, Strided<T> b, T* c, std::int64_t ldc,
              const GemmOptions<T>& options = {}) {
  const bool nothing_to_do = plain(options);
  const Packing<T> packing(m, n, k, a, b);
  const Buffer rows(packing.row_bytes(m)), columns(packing.panel_bytes());
  T* const panel = reinterpret_cast<T*>(columns.data());
  // The panel after that which ends at term p and column j.
  const auto panel_ahead = [&](std::int64_t p, std::int64_t j) {
    if (j >= n) p += kDepth, j = 0;
    Ahead<T> ahead;
    if (p >= k) return ahead;
    const std::int64_t depth = std::min(kDepth, k - p), width = std::min(kColumns<T>, n - j);
    ahead.data = b.data + j * b.across + p * b.along;
    ahead.lines = b.across == 1 ? depth : width;
    ahead.width = b.across == 1 ? width : depth;
    ahead.step = b.across == 1 ? b.along : b.across;
    return ahead;
  };
  for (std::int64_t p = 0; p < k; p += kDepth) {
    const std::int64_t depth = std::min(kDepth, k - p);
    Strided<T> left{a.data + p * a.along, a.across, a.along};
    if (packing.rows) {
      pack_rows(m, depth, left, reinterpret_cast<T*>(rows.data()));
      left.data = reinterpret_cast<T*>(rows.data());
    }
    for (std::int64_t j = 0; j < n; j += kColumns<T>) {
      const std::int64_t width = std::min(kColumns<T>, n - j);
      Strided<T> right{b.data + j * b.across + p * b.along, b.across, b.along};
      T* to = nullptr;
      if (packing.panels && b.across == 1 && width == kColumns<T> && m >= 2 * rows_for(kMostPackets)) {
        to = panel;
      } else if (packing.panels || width % kLanes<T> != 0) {
        pack_columns(depth, width, right, panel);
        right = {panel, 1, (width + kLanes<T> - 1) / kLanes<T> * kLanes<T>};
      }
      const bool ends = !nothing_to_do && p + depth == k;
      const GemmOptions<T> here = ends ? options_at(options, 0, j) : options;
      multiply_panel(m, width, depth, left, packing.rows, right, to, c + j, ldc, p > 0, ends ? &here : nullptr,
                     packing.panels ? panel_ahead(p, j + width) : Ahead<T>{});
    }
  }
}

}  // namespace twopass::gemm_kernel
