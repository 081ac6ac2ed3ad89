// Ops that reduce axes. Sums are pairwise, so that their error grows with the logarithm of the count.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// Whether reduced axes stay, with size 1.
enum class KeepAxis : bool { no, yes };
inline constexpr KeepAxis keep_axis = KeepAxis::yes;

/// The axes to reduce: none named means all; negative ones count from the end.
class Axes {
 public:
  Axes() = default;
  Axes(int axis) : axes_{axis} {}
  Axes(std::initializer_list<std::int64_t> axes) : axes_(axes) {}
  Axes(std::vector<std::int64_t> axes) : axes_(std::move(axes)) {}
  const std::vector<std::int64_t>& list() const { return axes_; }

 private:
  std::vector<std::int64_t> axes_;
};

/// The sum; 0 over nothing.
Tensor sum(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);
/// The mean; refused over nothing and of integers.
Tensor mean(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);
/// The largest, the smallest; ties share the gradient evenly, NaN wins; refused over nothing.
Tensor max(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);
Tensor min(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);
/// The product; 1 over nothing. Gradients are right with zeros among the factors.
Tensor prod(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);
/// log(sum(exp(x))), shifted by the maximum; -inf over nothing.
Tensor logsumexp(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);
/// The variance and its root: mean of squared distances to the mean, with n - correction in the denominator.
/// Beside `using namespace twopass` write twopass::std: `std` alone is the standard library too.
Tensor var(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no, std::int64_t correction = 0);
Tensor std(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no, std::int64_t correction = 0);
/// The index of the first largest (smallest) along one axis, i64; refused over nothing.
Tensor argmax(const Tensor& x, int axis = -1, KeepAxis keep = KeepAxis::no);
Tensor argmin(const Tensor& x, int axis = -1, KeepAxis keep = KeepAxis::no);
/// Whether any (all) of a bool tensor are true.
Tensor any(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);
Tensor all(const Tensor& x, const Axes& axes = {}, KeepAxis keep = KeepAxis::no);

/// The sum of x over the axes along which `shape` broadcast to x's: undoes broadcasting.
Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace twopass
