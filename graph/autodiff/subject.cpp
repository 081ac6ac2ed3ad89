#include <twopass/graph/autodiff/subject.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/coarse.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/keeping.h>

namespace twopass {
namespace {

bool has_f32(const Tensors& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& x) { return x.dtype() == f32; });
}

}  // namespace

bool has_floating(const Tensors& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& x) { return is_floating(x.dtype()); });
}

double difference(const Tensors& a, const Tensors& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const Node &x = a[k].node(), &y = b[k].node();
    if (x.shape != y.shape || x.dtype != y.dtype || x.bytes() != y.bytes()) return INFINITY;
    if (x.bytes() == 0 || std::memcmp(x.data, y.data, x.bytes()) == 0) continue;
    if (!is_floating(x.dtype)) return INFINITY;
    const std::vector<double> left = a[k].values<double>(), right = b[k].values<double>();
    double size = 0, off = 0;
    for (std::size_t place = 0; place < left.size(); ++place) {
      size = std::max({size, std::abs(left[place]), std::abs(right[place])});
      off = std::max(off, std::abs(left[place] - right[place]));
    }
    most = std::max(most, off < INFINITY && size < INFINITY ? off / size : INFINITY);
  }
  return most;
}

bool rounds_to_f32(const ManyFunction& f, const Tensors& inputs, std::uint64_t seed) {
  const auto beside = [&](double share) {
    Random random(seed_of(seed, "beside"));
    Tensors at = inputs;
    for (Tensor& x : at)
      if (is_floating(x.dtype())) x = x * (1.0 + random.uniform(x.shape(), x.dtype(), 0.5, 1.5) * share);
    return f(at);
  };
  const RecordingScope off(false);
  try {
    const Tensors here = f(inputs);
    return has_floating(here) && difference(here, beside(std::ldexp(1, -40))) == 0 &&
           difference(here, beside(std::ldexp(1, -18))) > kNoise;
  } catch (const Error&) {
    return false;
  }
}

void narrow(Subject& subject, std::string why) {
  subject.why = std::move(why);
  subject.epsilon = std::numeric_limits<float>::epsilon();
  subject.exact = 1e-5;
  subject.options.absolute = std::max(subject.options.absolute, 1e-5);
  subject.options.relative = std::max(subject.options.relative, 1e-3);
}

namespace {

// Whether something that f records is f32 or no finer: that differences are hidden in roundings is no sign of it.
bool has_coarse(const ManyFunction& f, const Tensors& inputs, std::uint64_t seed) {
  const RecordingScope on(true);
  const KeepingScope keeping;
  const Tensors outputs = f(as_variables(inputs));
  const std::vector<AloneCall> calls = calls_behind(outputs);
  return std::any_of(calls.begin(), calls.end(),
                     [](const AloneCall& call) { return call.node->dtype == f32 || has_f32(call.inputs); }) ||
         !coarse_calls(outputs, seed).empty();
}

// What f says of inputs that are wider than it takes; empty where it takes them.
std::string refusal(const ManyFunction& f, const Tensors& wide, std::uint64_t seed) {
  try {
    const Tensors outputs = no_record([&] { return f(wide); });
    gradient_of(f, seed)(as_variables(wide));  // rules may have caught f32 tensors too
    return has_f32(outputs) ? "its outputs are f32 then too" : "";
  } catch (const Error& error) {
    return std::string(error.what()).substr(0, std::string(error.what()).find('\n'));
  }
}

}  // namespace

// f32 is too coarse to differentiate by differences: inputs are widened. A function that caught f32 tensors refuses
// them; it is checked as it is, within f32's bounds.
Subject subject_of(const ManyFunction& f, const Tensors& inputs, const GradcheckOptions& options) {
  Subject subject{.f = f, .inputs = inputs, .options = options};
  if (!options.names.empty() && options.names.size() != inputs.size())
    throw Error(
        fmt::format("gradcheck: {} for {}", counted(options.names.size(), "name"), counted(inputs.size(), "input")));
  for (Tensor& x : subject.inputs)
    if (x.dtype() == f32) x = cast(detach(x), f64);
  const std::string refused = has_f32(inputs) ? refusal(f, subject.inputs, options.seed) : "";
  if (!refused.empty()) {
    subject.inputs = inputs;
    narrow(subject, fmt::format("f takes f32 only ({})", refused));
  } else if (rounds_to_f32(f, subject.inputs, options.seed) && has_coarse(f, subject.inputs, options.seed)) {
    narrow(subject, "f gives the same for numbers that are the same in f32, as if it were cast to that on the way");
  }
  return subject;
}

}  // namespace twopass
