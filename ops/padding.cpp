// What stands around a tensor where it is made of the tensor's own elements.
#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/ops/filled.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/named.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/rules.h>

namespace twopass {
namespace {

// Which of n elements stands at k, from -most to n + most - 1.
std::int64_t place(std::int64_t k, std::int64_t n, PadMode mode) {
  switch (mode) {
    case PadMode::reflect:
      return k < 0 ? -k : k < n ? k : 2 * (n - 1) - k;
    case PadMode::symmetric:
      return k < 0 ? -1 - k : k < n ? k : 2 * n - 1 - k;
    case PadMode::replicate:
      return std::clamp<std::int64_t>(k, 0, n - 1);
    case PadMode::circular:
      return k < 0 ? k + n : k < n ? k : k - n;
  }
  throw Error("pad: there is no such mode");
}

std::int64_t most(std::int64_t n, std::int64_t width, PadMode mode) {
  if (mode == PadMode::replicate) return n > 0 ? width : 0;
  return mode == PadMode::reflect ? std::max<std::int64_t>(0, n - 1) : n;
}

}  // namespace

Tensor pad(const Tensor& x, const std::vector<std::pair<std::int64_t, std::int64_t>>& widths, PadMode mode) {
  return named("pad", {&x}, [&] {
    const auto refuse = [&](const std::string& reason) {
      throw Error(fmt::format("pad{}: {}", x.shape().text(), reason));
    };
    if (widths.size() != static_cast<std::size_t>(x.rank()))
      refuse(fmt::format("{} pairs of widths do not fit {} axes", widths.size(), x.rank()));
    Tensor y = x;
    for (int axis = 0; axis < x.rank(); ++axis) {
      const auto [before, after] = widths[static_cast<std::size_t>(axis)];
      if (before == 0 && after == 0) continue;
      const std::int64_t n = rules::known_size(x.shape(), axis);
      for (const std::int64_t width : {before, after}) {
        constexpr std::int64_t kMost = std::int64_t{1} << 40;
        if (width > kMost) refuse(fmt::format("axis {} cannot have {} more elements", axis, width));
        if (width < 0) refuse(fmt::format("axis {} has the negative width {}", axis, width));
        if (width > most(n, width, mode))
          refuse(fmt::format("{} elements of axis {} give {} more at most on a side, not {}", n, axis,
                             most(n, width, mode), width));
      }
      const auto from = [=, before = before](std::int64_t k) { return place(k - before, n, mode); };
      y = gather(y, filled({n + before + after}, from), axis);
    }
    return y;
  });
}

}  // namespace twopass
