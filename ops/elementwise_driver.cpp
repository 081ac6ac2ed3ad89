// Broadcasting of elementwise kernels, run by run.
#include <algorithm>
#include <array>

#include <twopass/core/threads.h>
#include <twopass/ops/record.h>

namespace twopass {
namespace {

constexpr std::size_t kMostInputs = 4;
constexpr std::int64_t kTile = 16384;  // elements of a tile: a few hundred kB at most, so that it stays in L2
// Elements from which threads that are awake, and threads that sleep, are worth their while (twopass_bench sharing).
// The first two share squares from 45,000 on and tanh from 5000 on. Waking costs more than it saves up to 10^6 squares
// or 10^5 tanh by themselves; with so many a few calls in a row make up for it.
constexpr std::int64_t kWorthSharing = 32768;
constexpr std::int64_t kWorthWaking = 262144;

threads::Effort effort_of(std::int64_t n) { return n < kWorthWaking ? threads::Effort::small : threads::Effort::large; }

// Calls the kernel for elements begin … end-1, where every input is as long as the output or a single element.
void run_flat(RunKernel kernel, const void* context, Inputs in, const Output& out, DType dtype, std::int64_t begin,
              std::int64_t end) {
  std::array<Operand, kMostInputs> operands;
  for (std::size_t k = 0; k < in.size(); ++k) {
    const bool splat = in[k].elements() == 1 && out.elements() != 1;
    operands[k] = {in[k].bytes + (splat ? 0 : begin * static_cast<std::int64_t>(size_of(in[k].dtype))), splat};
  }
  kernel(context, {operands.data(), in.size()}, out.bytes + begin * static_cast<std::int64_t>(size_of(out.dtype)),
         end - begin, dtype);
}

// The axes of a broadcast call, joined where no input changes between standing still and moving on; innermost last.
struct Walk {
  int rank = 0;
  std::array<std::int64_t, kMaxRank> sizes{};
  std::array<std::array<std::int64_t, kMaxRank>, kMostInputs> strides{};  // in elements
};

Walk walk_of(Inputs in, const Shape& out) {
  Walk walk;
  std::array<std::int64_t, kMostInputs> span{};
  span.fill(1);
  std::array<bool, kMostInputs> moves_before{};
  for (int axis = 1; axis <= out.rank(); ++axis) {
    const std::int64_t size = out[-axis];
    if (size == 1) continue;
    bool joins = walk.rank > 0;
    std::array<bool, kMostInputs> moves{};
    for (std::size_t k = 0; k < in.size(); ++k) {
      moves[k] = axis <= in[k].shape().rank() && in[k].shape()[-axis] != 1;
      joins = joins && moves[k] == moves_before[k];
    }
    if (joins) {
      walk.sizes[static_cast<std::size_t>(walk.rank - 1)] *= size;
    } else {
      walk.sizes[static_cast<std::size_t>(walk.rank)] = size;
      for (std::size_t k = 0; k < in.size(); ++k)
        walk.strides[k][static_cast<std::size_t>(walk.rank)] = moves[k] ? span[k] : 0;
      ++walk.rank;
      moves_before = moves;
    }
    for (std::size_t k = 0; k < in.size(); ++k)
      if (moves[k]) span[k] *= size;
  }
  return walk;  // innermost first
}

}  // namespace

void run_elementwise(RunKernel kernel, const void* context, Inputs in, const Output& out) {
  const std::int64_t n = out.elements();
  if (n == 0) return;
  if (in.size() > kMostInputs) throw Error("an elementwise op takes at most four inputs");
  const DType dtype = in.back().dtype;  // of where(condition, a, b) that of the values
  if (n == 1) {                         // as in graphs of scalars: nothing to be spread, nor to be shared out
    std::array<Operand, kMostInputs> operands;
    for (std::size_t k = 0; k < in.size(); ++k) operands[k] = {in[k].bytes, false};
    return kernel(context, {operands.data(), in.size()}, out.bytes, 1, dtype);
  }
  bool flat = true;
  for (const View& each : in) flat = flat && (each.elements() == 1 || each.elements() == n);
  if (flat) {
    if (n < kWorthSharing) return run_flat(kernel, context, in, out, dtype, 0, n);
    const auto do_tile = [&](std::int64_t tile) {
      run_flat(kernel, context, in, out, dtype, tile * kTile, std::min(n, (tile + 1) * kTile));
    };
    return parallel_for((n + kTile - 1) / kTile, do_tile, effort_of(n));
  }
  const Walk walk = walk_of(in, out.shape());
  const std::int64_t run = walk.sizes[0], runs = n / run;
  const auto do_runs = [&](std::int64_t first, std::int64_t last) {
    std::array<Operand, kMostInputs> operands;
    for (std::int64_t r = first; r < last; ++r) {
      std::int64_t rest = r;
      std::array<std::int64_t, kMostInputs> at{};
      for (int axis = 1; axis < walk.rank; ++axis) {
        const auto a = static_cast<std::size_t>(axis);
        const std::int64_t index = rest % walk.sizes[a];
        rest /= walk.sizes[a];
        for (std::size_t k = 0; k < in.size(); ++k) at[k] += index * walk.strides[k][a];
      }
      for (std::size_t k = 0; k < in.size(); ++k)
        operands[k] = {in[k].bytes + at[k] * static_cast<std::int64_t>(size_of(in[k].dtype)), walk.strides[k][0] == 0};
      kernel(context, {operands.data(), in.size()}, out.bytes + r * run * static_cast<std::int64_t>(size_of(out.dtype)),
             run, dtype);
    }
  };
  if (n < kWorthSharing) return do_runs(0, runs);
  const std::int64_t per_tile = std::max<std::int64_t>(1, kTile / run);
  parallel_for((runs + per_tile - 1) / per_tile,
               [&](std::int64_t tile) { do_runs(tile * per_tile, std::min(runs, (tile + 1) * per_tile)); },
               effort_of(n));
}

}  // namespace twopass
