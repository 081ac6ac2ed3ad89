#include <twopass/ops/gemm.h>

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <twopass/core/memory.h>
#include <twopass/core/threads.h>
#include <twopass/ops/bf16.h>
#include <twopass/ops/gemm_kernel.h>
#include <twopass/ops/onednn.h>
#include <twopass/ops/reduction_kernels.h>

namespace twopass {
namespace {

thread_local bool turns = true;

constexpr std::int64_t kTileWork = 4 << 20;   // multiply-adds of one tile: an eighth of all, between these two,
constexpr std::int64_t kMostWork = 64 << 20;  // as each tile packs the uncut operand again
// Multiply-adds below which a product is never cut: 2 MFLOP. Threads that are awake gain a third there, and something
// from 0.5 MFLOP on; waking one for a single product costs more than it saves up to 6 MFLOP (twopass_bench sharing).
constexpr std::int64_t kSmall = 1 << 20;
constexpr std::int64_t kPlainWork = 1 << 18;  // multiply-adds up to which the own kernel is best where it has no edges
constexpr std::int64_t kShallow = 64;         // terms up to which it is best for a few sums, too, that are added to
constexpr std::int64_t kFewSums = 32 << 10;   // something: oneDNN leaves that to a sweep of its own
constexpr std::int64_t kFarBytes = 1 << 20;   // of operands and result that second-level caches do not hold
constexpr std::int64_t kHalfWork = 1 << 17;   // multiply-adds from which converting to bf16 pays, if there are so
constexpr std::int64_t kHalfUse = 24;         // many for each element that is converted
constexpr std::int64_t kTurnedTerms = 32;     // a narrow layer's output is turned from so many terms on, up to so many
constexpr std::int64_t kTurnedRows = 256;     // rows,
constexpr std::int64_t kLongSum = 768;        // and from so many terms and rows on
constexpr std::int64_t kManyRows = 64;
constexpr std::int64_t kSameSet = 1024;  // elements between rows whose columns share a set of the first-level cache,
constexpr std::int64_t kTogether = 32;   // and rows that it takes together
constexpr std::int64_t kFewRows = 16;
constexpr std::int64_t kFewColumns = 32;
constexpr std::int64_t kWakes = 3 << 20;   // from which it does not
constexpr std::int64_t kRowStep = 48;      // tiles end where groups of rows
constexpr std::int64_t kTallStep = 64;     // (where the right matrix is turned, oneDNN wants more of them)
constexpr std::int64_t kColumnStep = 128;  // and panels do,
constexpr std::int64_t kFewTiles = 3;      // but so few
constexpr std::int64_t kLeastStep = 16;    // where packets do

// A step between rows of so many elements that those below each other do not share a set of the cache.
std::int64_t apart(std::int64_t columns) { return (columns + 31) / 32 * 32 + 16; }

// The operands of a product in f32 may be given in bf16 too: it multiplies those then.
struct Halves {
  const std::uint16_t *a = nullptr, *b = nullptr;
  std::int64_t lda = 0, ldb = 0;
};

template <typename T>
struct Product {
  bool transpose_a, transpose_b;
  std::int64_t m, n, k;
  const T* a;
  std::int64_t lda;
  const T* b;
  std::int64_t ldb;
  T* c;
  std::int64_t ldc;
  GemmOptions<T> options;
  Halves halves{};
  // Whether the whole, of which this may be a part, is better off with the own kernel, which asks for what lies far
  // away before it needs it, and for the next panel during this one: 2 % in W2, 5 in W3. Not where b is turned for few
  // rows.
  bool far = n % gemm_kernel::kLanes<T> == 0 && (!transpose_b || m >= kTallStep) &&
             (m * n + n * k + k * m) * std::int64_t{sizeof(T)} > kFarBytes;

  gemm_kernel::Strided<T> left() const { return {a, transpose_a ? 1 : lda, transpose_a ? lda : 1}; }
  gemm_kernel::Strided<T> right() const { return {b, transpose_b ? ldb : 1, transpose_b ? 1 : ldb}; }

  // Vector lanes are filled along the columns of the result. Where those are few and leave some empty, the transposed
  // result is faster, even with the turn: where the rows of the left matrix lie side by side in memory (the weight
  // gradient of a narrow layer) always, else (its output) where turning them too is little beside the sums.
  bool better_turned() const {
    if (n > gemm_kernel::kNarrow || n % gemm_kernel::kLanes<T> == 0 || m < 2 * n) return false;
    if (transpose_a) return true;
    // oneDNN has a kernel that is good at less than a vector of columns, but where rows of the left matrix share sets
    // of the cache: then it takes up to three times as long.
    if (std::is_same_v<T, float> && n < gemm_kernel::kLanes<T> && 3 * n > gemm_kernel::kLanes<T> &&
        (k % kSameSet != 0 || m % kTogether != 0))
      return false;
    return (k >= kTurnedTerms && m <= kTurnedRows) || (k >= kLongSum && m >= kManyRows);
  }
  bool turned() const { return better_turned() && options.turns && !halves.a; }

  // Measured on Zen 4: oneDNN is 3 to 6 % faster where all is in cache, more where columns do not fill lanes; not on
  // few rows, nor on small products without edges, where calling it costs as much.
  bool suits_onednn(bool added) const {
    if (!std::is_same_v<T, float> || far) return false;
    if (better_turned() || (m < kFewRows && n > kFewColumns && !transpose_b)) return false;
    if (n % gemm_kernel::kLanes<T> != 0) return true;
    return m * n > (added && k <= kShallow ? std::max(kFewSums, kPlainWork / k) : kPlainWork / k);
  }

  // The sums alone, by oneDNN; false where own ones are better.
  bool by_onednn(T* to, std::int64_t ldto) const {
    if constexpr (std::is_same_v<T, float>) {
      if (halves.a &&
          onednn::multiply({transpose_a, transpose_b, m, n, k, halves.lda, halves.ldb, ldto}, halves.a, halves.b, to))
        return true;
      return suits_onednn(options.add) &&
             onednn::multiply({transpose_a, transpose_b, m, n, k, lda, ldb, ldto}, a, b, to);
    } else {
      return false;
    }
  }

  void run() const {
    multiply();
    if (!options.then) return;
    if (ldc == n) return options.then(c, m * n);
    for (std::int64_t row = 0; row < m; ++row) options.then(c + row * ldc, n);
  }

  // c can't hold unfinished sums while it is what they are added to.
  void multiply() const {
    const bool added_to = options.add == c;
    if (!added_to && by_onednn(c, ldc)) {
      if (!gemm_kernel::plain(options)) gemm_kernel::finish_rows(c, ldc, m, n, c, ldc, options);
      return;
    }
    if (turned()) {
      const std::int64_t stride = apart(m);
      const Buffer memory(static_cast<std::size_t>(n * stride) * sizeof(T));
      T* const sums = reinterpret_cast<T*>(memory.data());
      gemm_kernel::multiply(n, m, k, right(), left(), sums, stride);
      return gemm_kernel::finish_turned(sums, stride, m, n, c, ldc, options);
    }
    if (added_to && (k > gemm_kernel::kDepth || halves.a || suits_onednn(true))) {
      const Buffer memory(static_cast<std::size_t>(m * n) * sizeof(T));
      T* const sums = reinterpret_cast<T*>(memory.data());
      if (!by_onednn(sums, n)) gemm_kernel::multiply(m, n, k, left(), right(), sums, n);
      return gemm_kernel::finish_rows(sums, n, m, n, c, ldc, options);
    }
    gemm_kernel::multiply(m, n, k, left(), right(), c, ldc, options);
  }

  // What oneDNN takes for the sums, or nothing where own ones are better: as by_onednn decides.
  std::optional<std::int64_t> scratch_of_onednn(bool added) const {
    const std::int64_t ldto = added ? n : ldc;
    if (halves.a)
      if (const auto bytes =
              onednn::scratch_bytes({transpose_a, transpose_b, m, n, k, halves.lda, halves.ldb, ldto}, true))
        return bytes;
    if (!suits_onednn(added)) return std::nullopt;
    return onednn::scratch_bytes({transpose_a, transpose_b, m, n, k, lda, ldb, ldto}, false);
  }

  // Bytes that run() takes, where it may be added to c itself.
  std::int64_t scratch(bool added) const {
    const auto packed = [&](std::int64_t rows, const gemm_kernel::Packing<T>& packing) {
      return static_cast<std::int64_t>(packing.row_bytes(rows) + packing.panel_bytes());
    };
    if (turned()) return n * apart(m) * std::int64_t{sizeof(T)} + packed(n, {n, m, k, right(), left()});
    const bool beside = added && (k > gemm_kernel::kDepth || halves.a || suits_onednn(true));
    const auto library = scratch_of_onednn(added);
    return library.value_or(packed(m, {m, n, k, left(), right()})) + (beside ? m * n * std::int64_t{sizeof(T)} : 0);
  }

  Product rows(std::int64_t first, std::int64_t count) const {
    Product part = *this;
    part.m = count;
    part.a += transpose_a ? first : first * lda;
    if (halves.a) part.halves.a += transpose_a ? first : first * halves.lda;
    part.c += first * ldc;
    part.options = gemm_kernel::options_at(options, first, 0);
    return part;
  }
  Product columns(std::int64_t first, std::int64_t count) const {
    Product part = *this;
    part.n = count;
    part.b += transpose_b ? first * ldb : first;
    if (halves.b) part.halves.b += transpose_b ? first * halves.ldb : first;
    part.c += first;
    part.options = gemm_kernel::options_at(options, 0, first);
    return part;
  }
};

// A matrix in bf16, its rows one after another.
Buffer halved(const float* x, std::int64_t rows, std::int64_t columns, std::int64_t stride) {
  Buffer memory(static_cast<std::size_t>(rows * columns) * sizeof(std::uint16_t));
  std::uint16_t* const to = reinterpret_cast<std::uint16_t*>(memory.data());
  const auto convert = [](const float* from, std::int64_t n, std::uint16_t* into) {
    for (std::int64_t j = 0; j < n; ++j) into[j] = bf16_of(from[j]);
  };
  if (stride == columns) {  // one run, cut as it comes
    const std::int64_t all = rows * columns;
    parallel_for((all + reduction::kTile - 1) / reduction::kTile, [&](std::int64_t tile) {
      const std::int64_t first = tile * reduction::kTile;
      convert(x + first, std::min(reduction::kTile, all - first), to + first);
    });
    return memory;
  }
  reduction::for_units(rows, columns,
                       [&](std::int64_t row) { convert(x + row * stride, columns, to + row * columns); });
  return memory;
}

// How a product is cut: into parts of `step` rows or columns; the last may be smaller.
struct Cut {
  bool by_rows;
  std::int64_t length, step;
};

template <typename T>
Cut cut_of(const Product<T>& whole) {
  const std::int64_t m = whole.m, n = whole.n, k = whole.k;
  // oneDNN takes longer to turn b in part.
  const bool turns_whole = whole.transpose_b && !whole.far, by_rows = m >= n || (turns_whole && m >= 2 * kTallStep);
  const std::int64_t length = by_rows ? m : n;
  if (m * n <= kSmall / k) return {by_rows, length, length};
  const std::int64_t work_each = (by_rows ? n : m) * k;  // of one row or column
  const std::int64_t tile_work =
      turns_whole && !by_rows ? kMostWork : std::clamp(length * work_each / 8, kTileWork, kMostWork);
  const auto rounded_up = [](std::int64_t step, std::int64_t unit) { return (step + unit - 1) / unit * unit; };
  const std::int64_t unit = !by_rows ? kColumnStep : turns_whole ? kTallStep : kRowStep;
  const std::int64_t step = rounded_up(std::max<std::int64_t>(1, tile_work / work_each), unit);
  const std::int64_t tiles = std::max<std::int64_t>(2, (length + step - 1) / step);
  if ((turns_whole && !by_rows) || tiles > kFewTiles) return {by_rows, length, step};
  // A few tiles are of one length, as the longest decides how long all take.
  return {by_rows, length, std::min(length, rounded_up((length + tiles - 1) / tiles, kLeastStep))};
}

template <typename T>
void run_in_tiles(const Product<T>& whole) {
  const Cut cut = cut_of(whole);
  if (cut.step >= cut.length) return whole.run();
  parallel_for((cut.length + cut.step - 1) / cut.step,
               [&](std::int64_t tile) {
                 const std::int64_t first = tile * cut.step, count = std::min(cut.step, cut.length - first);
                 (cut.by_rows ? whole.rows(first, count) : whole.columns(first, count)).run();
               },
               whole.m * whole.n < kWakes / whole.k ? threads::Effort::small : threads::Effort::large);
}

bool in_halves(Precision precision, std::int64_t m, std::int64_t n, std::int64_t k) {
  return precision == Precision::bf16 && m * n > kHalfWork / k && m * n >= kHalfUse * (m + n);
}

template <typename T>
bool turns_some(const Product<T>& whole) {
  const Cut cut = cut_of(whole);
  if (cut.step >= cut.length) return whole.turned();
  return (cut.by_rows ? whole.rows(0, cut.step) : whole.columns(0, cut.step)).turned();
}

template <typename T>
std::int64_t scratch_of(const Product<T>& whole, bool added) {
  const Cut cut = cut_of(whole);
  if (cut.step >= cut.length) return whole.scratch(added);
  const std::int64_t tiles = (cut.length + cut.step - 1) / cut.step, last = (tiles - 1) * cut.step;
  const auto part = [&](std::int64_t first, std::int64_t count) {
    return (cut.by_rows ? whole.rows(first, count) : whole.columns(first, count)).scratch(added);
  };
  return std::min<std::int64_t>(threads::count(), tiles) * std::max(part(0, cut.step), part(last, cut.length - last));
}

}  // namespace

TurnScope::TurnScope(bool turn) : before_(std::exchange(turns, turn)) {}
TurnScope::~TurnScope() { turns = before_; }
bool products_turn() { return turns; }

bool turns_product(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, DType dtype) {
  if (m == 0 || n == 0 || k == 0) return false;
  if (dtype == f64)
    return turns_some(Product<double>{transpose_a, transpose_b, m, n, k, nullptr, m, nullptr, n, nullptr, n, {}});
  return !in_halves(products_precision(), m, n, k) &&
         turns_some(Product<float>{transpose_a, transpose_b, m, n, k, nullptr, m, nullptr, n, nullptr, n, {}});
}

bool halves_product(std::int64_t m, std::int64_t n, std::int64_t k) {
  return m * n * k != 0 && in_halves(products_precision(), m, n, k);
}

std::int64_t gemm_scratch(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
                          DType dtype, bool added) {
  if (m == 0 || n == 0 || k == 0) return 0;
  const std::int64_t lda = transpose_a ? m : k, ldb = transpose_b ? k : n;
  if (dtype == f64)
    return scratch_of(Product<double>{transpose_a, transpose_b, m, n, k, nullptr, lda, nullptr, ldb, nullptr, n, {}},
                      added);
  Product<float> whole{transpose_a, transpose_b, m, n, k, nullptr, lda, nullptr, ldb, nullptr, n, {}};
  static constexpr std::uint16_t kSome = 0;
  const bool converted = in_halves(products_precision(), m, n, k);
  if (converted) {
    whole.halves = {&kSome, &kSome, lda, ldb};
    whole.far = false;
  }
  return (converted ? (m + n) * k * std::int64_t{sizeof(std::uint16_t)} : 0) + scratch_of(whole, added);
}

template <typename T>
void gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
          std::int64_t lda, const T* b, std::int64_t ldb, T* c, std::int64_t ldc,
          const std::type_identity_t<GemmOptions<T>>& options) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    const std::vector<T> nothing(static_cast<std::size_t>(n), T{0});
    gemm_kernel::finish_rows(nothing.data(), 0, m, n, c, ldc, options);
    for (std::int64_t row = 0; options.then && row < m; ++row) options.then(c + row * ldc, n);
    return;
  }
  Product<T> whole{transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc, options};
  if constexpr (std::is_same_v<T, float>)
    if (in_halves(options.precision, m, n, k)) {
      const std::int64_t width_a = transpose_a ? m : k, width_b = transpose_b ? k : n;
      const Buffer half_a = halved(a, transpose_a ? k : m, width_a, lda),
                   half_b = halved(b, transpose_b ? n : k, width_b, ldb);
      whole.far = false;
      whole.halves = {reinterpret_cast<const std::uint16_t*>(half_a.data()),
                      reinterpret_cast<const std::uint16_t*>(half_b.data()), width_a, width_b};
      return run_in_tiles(whole);
    }
  run_in_tiles(whole);
}

std::string products_library() {
  const std::string library = onednn::description();
  return (library.empty() ? "" : library + ", and ") +
         fmt::format("panels in registers, with the packets of Eigen {}.{}.{}", EIGEN_WORLD_VERSION,
                     EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION);
}

template void gemm(bool, bool, std::int64_t, std::int64_t, std::int64_t, const float*, std::int64_t, const float*,
                   std::int64_t, float*, std::int64_t, const GemmOptions<float>&);
template void gemm(bool, bool, std::int64_t, std::int64_t, std::int64_t, const double*, std::int64_t, const double*,
                   std::int64_t, double*, std::int64_t, const GemmOptions<double>&);

}  // namespace twopass
