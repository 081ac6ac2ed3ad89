#include <twopass/graph/autodiff/numerical.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/given.h>

namespace twopass {

NumericalGradients numerical_gradients(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs,
                                       const NumericalOptions& options) {
  check_given("numerical_gradients", bool(f), "function");
  check_defined("numerical_gradients", "input", inputs);
  const RecordingScope off(false);
  NumericalGradients found;
  const auto value = [&](const Tensors& at) {
    ++found.passes;
    const Tensor y = f(at);
    check_gives("numerical_gradients", {&y, 1});
    if (y.elements() != 1)
      throw Error(
          fmt::format("numerical_gradients: the function must return one element, not shape {}", y.shape().text()));
    return y.item<double>();
  };
  const bool forward = options.difference == Difference::forward;
  const double here = forward ? value(inputs) : 0;
  Tensors at = inputs;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const DType dtype = inputs[k].dtype();
    if (!is_floating(dtype)) {
      found.gradients.emplace_back();
      continue;
    }
    const double epsilon =
        dtype == f32 ? std::numeric_limits<float>::epsilon() : std::numeric_limits<double>::epsilon();
    const double step = options.step > 0 ? options.step : forward ? std::sqrt(epsilon) : std::cbrt(epsilon);
    const std::vector<double> values = inputs[k].values<double>();
    std::vector<double> gradient(values.size());
    const auto moved = [&](std::size_t place, double to) {
      std::vector<double> changed = values;
      changed[place] = to;
      at[k] = from_values(changed, inputs[k].shape(), dtype);
      // What was really added, after rounding.
      return at[k].at<double>(static_cast<std::int64_t>(place));
    };
    for (std::size_t place = 0; place < values.size(); ++place) {
      const double h = step * std::max(1.0, std::abs(values[place]));
      const double above = moved(place, values[place] + h);
      const double f_above = value(at);
      const double below = forward ? values[place] : moved(place, values[place] - h);
      const double f_below = forward ? here : value(at);
      gradient[place] = (f_above - f_below) / (above - below);
    }
    at[k] = inputs[k];
    found.gradients.push_back(from_values(gradient, inputs[k].shape(), dtype));
  }
  return found;
}

}  // namespace twopass
