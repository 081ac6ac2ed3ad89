#include <twopass/ops/anomaly.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <twopass/core/error.h>
#include <twopass/ops/record.h>

namespace twopass {
namespace {

thread_local constinit AnomalyScope* scope = nullptr;

// The place of the first element for which `is` holds.
template <typename Is>
std::optional<std::int64_t> first(const Tensor& x, Is is) {
  if (!is_floating(x.dtype()) || x.symbolic()) return std::nullopt;
  return dispatch(x.dtype(), [&]<typename T>() -> std::optional<std::int64_t> {
    const T* const values = x.data<T>();
    for (std::int64_t k = 0, n = x.elements(); k < n; ++k)
      if (is(static_cast<double>(values[k]))) return k;
    return std::nullopt;
  });
}

bool is_nan(double x) { return std::isnan(x); }
bool is_infinite(double x) { return std::isinf(x); }

// "input 0 (3,): from -1 to 4, 1 nan".
std::string range_text(std::size_t number, const Tensor& x) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  std::int64_t nans = 0, infinities = 0;
  for (const double value : x.values<double>()) {
    nans += std::isnan(value);
    infinities += std::isinf(value);
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  std::string text = fmt::format("input {} {}: ", number, x.shape().text());
  text += low <= high ? fmt::format("from {:.6g} to {:.6g}", low, high) : "no finite element";
  if (nans) text += fmt::format(", {} nan", nans);
  if (infinities) text += fmt::format(", {} infinite", infinities);
  return text;
}

// What is wrong with a result, in words; empty where nothing is.
std::string reason(const Tensor& result, std::span<const Tensor> inputs, bool infinities) {
  if (const auto place = first(result, is_nan)) {
    const std::string at = result.shape().index_text(*place);
    for (std::size_t k = 0; k < inputs.size(); ++k)
      if (const auto given = first(inputs[k], is_nan))
        return fmt::format("the result is nan at {}, as input {} is at {}", at, k,
                           inputs[k].shape().index_text(*given));
    return fmt::format("the result is nan at {}, though no input is", at);
  }
  if (!infinities || inputs.empty()) return {};
  const auto place = first(result, is_infinite);
  if (!place) return {};
  for (const Tensor& input : inputs)
    if (first(input, is_infinite)) return {};
  return fmt::format("the result is {} at {}, though every input is finite", result.at<double>(*place),
                     result.shape().index_text(*place));
}

}  // namespace

AnomalyScope::AnomalyScope(const AnomalyOptions& options) : options_(options), before_(scope) { scope = this; }
AnomalyScope::~AnomalyScope() { scope = before_; }

AnomalyScope* AnomalyScope::current() { return scope; }

void AnomalyScope::happened_in_gradient_of(const Tensor& of) {
  if (!found_ || found_->gradient_of.defined()) return;
  found_->gradient_of = of;
  found_->layer = places_.of(of.node());
}

void check_anomaly(const Op& op, const Arguments* arguments, const Tensor& result, std::span<const Tensor> inputs) {
  if (!scope) return;
  std::string error = reason(result, inputs, scope->options_.infinities);
  if (error.empty()) return;
  for (std::size_t k = 0; k < inputs.size(); ++k) error += "\n  " + range_text(k, inputs[k]);
  if (!scope->found_)
    scope->found_ = std::make_unique<Anomaly>(Anomaly{.call = call_text(op, arguments, Specs(inputs)),
                                                      .error = error,
                                                      .layer = PlaceLog::here(),
                                                      .inputs = Tensors(inputs.begin(), inputs.end()),
                                                      .result = result,
                                                      .gradient_of = {}});
  throw Error(error);
}

}  // namespace twopass
