#include <twopass/graph/autodiff/exact.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/coarse.h>
#include <twopass/graph/autodiff/forward.h>
#include <twopass/graph/autodiff/roundings.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/keeping.h>

namespace twopass {
namespace {

constexpr double kOfF32 = 1e-5;     // what identities hold to in f32
constexpr double kRounding = 2e-3;  // of what they hold to is one rounding

Tensors floating(const Tensors& tensors) {
  Tensors of;
  for (const Tensor& x : tensors)
    if (is_floating(x.dtype())) of.push_back(x);
  return of;
}

Tensors drawn_like(const Tensors& tensors, std::uint64_t seed, const char* what) {
  Random random(seed_of(seed, what));
  Tensors drawn;
  for (const Tensor& x : tensors) drawn.push_back(random.normal(x.shape(), x.dtype()));
  return drawn;
}

double product(const Tensors& a, const Tensors& b) {
  double total = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const auto x = a[k].values<double>(), y = b[k].values<double>();
    for (std::size_t place = 0; place < x.size(); ++place) total += x[place] * y[place];
  }
  return total;
}

double size(const Tensors& a) {
  std::vector<double> sizes;
  for (const Tensor& each : a) sizes.push_back(norm_of(each.values<double>()));
  return norm_of(sizes);
}

double elements_of(const Tensors& tensors) {
  double count = 0;
  for (const Tensor& x : tensors) count += static_cast<double>(x.elements());
  return count;
}

// Jᵀ v for all of `of` at once: one pass per output, summed.
Tensors pulled(const Tensors& outputs, const Tensors& seeds, const Tensors& of, bool record) {
  Tensors total;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    if (!outputs[k].recorded()) continue;
    const Tensors part = gradients(outputs[k], of, {.seed = seeds[k], .record = record});
    if (total.empty())
      total = part;
    else
      for (std::size_t input = 0; input < of.size(); ++input) total[input] = total[input] + part[input];
  }
  if (total.empty())
    for (const Tensor& x : of) total.push_back(zeros(x.shape(), x.dtype()));
  return total;
}

// Where terms cancel on the way back roundings do more, which is reckoned where it matters.
template <typename Rounding>
void add(GradcheckReport& report, std::string name, double left, double right, double bound, const Rounding& rounding) {
  ExactCheck check{.name = std::move(name), .left = left, .right = right, .bound = bound};
  const double off = std::abs(left - right);
  if (off > bound) check.bound += 8 * rounding();
  check.ok = off <= check.bound;  // not so for NaN
  report.add(std::move(check));
}

// Where values are not finite no identity holds.
bool finite(std::initializer_list<double> sizes) {
  for (const double each : sizes)
    if (!std::isfinite(each)) return false;
  return true;
}

bool all_defined(const Tensors& tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const Tensor& x) { return x.defined(); });
}

// An op may leave out what nobody asks for; what is asked for must not depend on what else is.
void check_alone(const ManyFunction& f, const Tensors& inputs, const Tensors& v, const Tensors& together, double bound,
                 double rest, const std::vector<AloneCall>& coarse, const GradcheckOptions& options,
                 GradcheckReport& report) {
  constexpr std::size_t kMost = 32;
  if (together.size() < 2) return;
  std::size_t number = 0;
  for (std::size_t k = 0; k < inputs.size() && number < kMost; ++k) {
    if (!is_floating(inputs[k].dtype())) continue;
    Tensors at = inputs;
    for (Tensor& x : at) x = detach(x);
    at[k] = variable(at[k]);
    const Tensors outputs = floating(f(at));
    const Tensors alone = pulled(outputs, v, {at[k]}, false);
    const Tensors u = drawn_like(alone, options.seed, "u alone"), of_all = {together[number++]};
    const auto rounding = [&] { return rounding_of_derivative(outputs, v, {at[k]}, u, coarse); };
    const std::string name = k < options.names.size() ? options.names[k] : fmt::format("input {}", k);
    add(report, fmt::format("the gradient for {} where no other is wanted", name), product(alone, u),
        product(of_all, u), bound * size(u) * size(of_all) + rest * size(u), rounding);
    // Derivatives that are 0 but for roundings are measured by what else there is.
    const Tensors ahead = tangents(outputs, {at[k]}, u, {.missing = Missing::undefined});
    if (all_defined(ahead) && finite({size(ahead)}))
      add(report, fmt::format("<v, J u> = <J' v, u>, J u in forward mode where {} alone moves", name),
          product(v, ahead), product(of_all, u),
          bound * (size(v) * size(ahead) + size(u) * size(together)) + rest * size(u), rounding);
  }
}

}  // namespace

void check_exactly(const ManyFunction& f, const Tensors& inputs, int order, double bound,
                   const GradcheckOptions& options, GradcheckReport& report) {
  const RecordingScope on(true);
  const KeepingScope keeping;
  const Tensors at = as_variables(inputs), of = floating(at);
  const Tensors outputs = floating(f(at));
  if (of.empty() || outputs.empty()) return;
  const Tensors u = drawn_like(of, options.seed, "u"), v = drawn_like(outputs, options.seed, "v"),
                w = drawn_like(outputs, options.seed, "w");

  // A function that casts on the way is as coarse as that.
  const std::vector<Node*> nodes = nodes_behind(outputs);
  const std::vector<AloneCall> coarse = coarse_calls(outputs, options.seed);
  if (!coarse.empty() || std::any_of(nodes.begin(), nodes.end(), [](const Node* node) { return node->dtype == f32; }))
    bound = std::max(bound, kOfF32);
  // Where gradients are 0 but for roundings they are measured by what they are made of; denormal ones are rounded to
  // the smallest number that there is.
  const double rest = bound * kRounding * roundings_of(outputs, v, coarse).size +
                      64 * std::numeric_limits<double>::denorm_min() * elements_of(of);

  const Tensors back = pulled(outputs, v, of, false);
  Tensors combined;
  for (std::size_t k = 0; k < v.size(); ++k) combined.push_back(v[k] * 2.0 - w[k] * 3.0);
  const Tensors back_w = pulled(outputs, w, of, false), back_both = pulled(outputs, combined, of, false);
  if (!finite({size(back), size(back_w), size(back_both)})) return;
  const auto rounding = [&] { return rounding_of_derivative(outputs, v, of, u, coarse); };
  add(report, "linearity of the gradient in its seed", product(back_both, u),
      2 * product(back, u) - 3 * product(back_w, u),
      bound * size(u) * (2 * size(back) + 3 * size(back_w)) + 5 * rest * size(u),
      [&] { return 2 * rounding() + 3 * rounding_of_derivative(outputs, w, of, u, coarse); });

  check_alone(f, inputs, v, back, bound, rest, coarse, options, report);
  const double large = size(u) * size(back);
  const Tensors directions = as_variables(u);
  const Tensors ahead = tangents(outputs, of, directions, {.record = order > 1, .missing = Missing::undefined});
  const bool goes_forward = all_defined(ahead);
  if (goes_forward && finite({size(ahead)}))
    add(report, "<v, J u> = <J' v, u>, J u in forward mode", product(v, ahead), product(back, u),
        bound * (size(v) * size(ahead) + large) + rest * size(u), rounding);
  if (order < 2) return;
  const Tensors seeds = as_variables(v);
  // The gradient as a function of its seed is linear; its own transpose applied to u is J u.
  const Tensors recorded = pulled(outputs, seeds, of, true);
  const Tensors forward = pulled(recorded, u, seeds, false);
  if (finite({size(forward)}))
    add(report, "<v, J u> = <J' v, u>", product(v, forward), product(back, u),
        bound * (size(v) * size(forward) + large) + rest * size(u), rounding);

  const Tensors other = drawn_like(of, options.seed, "other u");
  const Tensors hessian_u = pulled(recorded, u, of, false), hessian_other = pulled(recorded, other, of, false);
  const auto of_second = [&] { return rounding_of_derivative(recorded, u, of, other, coarse); };
  if (finite({size(hessian_u), size(hessian_other)}))
    add(report, "symmetry of second derivatives", product(other, hessian_u), product(u, hessian_other),
        bound * (size(other) * size(hessian_u) + size(u) * size(hessian_other)) + rest * size(u) * size(other),
        of_second);
  if (!goes_forward || !finite({size(ahead), size(hessian_u)})) return;
  // v' J u once more, from J u: its derivatives for x and for u are those of the gradient.
  const Tensors bent = pulled(ahead, v, of, false), straight = pulled(ahead, v, directions, false);
  add(report, "the derivative of J u in forward mode for x", product(other, bent), product(other, hessian_u),
      bound * size(other) * (size(bent) + size(hessian_u)) + rest * size(u) * size(other), of_second);
  add(report, "the derivative of J u in forward mode for u", product(other, straight), product(other, back),
      bound * size(other) * (size(straight) + size(back)) + rest * size(other),
      [&] { return rounding_of_derivative(outputs, v, of, other, coarse); });
}

}  // namespace twopass
