#include <twopass/ops/anomaly.h>

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string>

#include <twopass/core/error.h>

namespace twopass {
namespace {

thread_local int scopes = 0;

std::optional<std::int64_t> first_nan(const Tensor& x) {
  if (!is_floating(x.dtype()) || x.symbolic()) return std::nullopt;
  return dispatch(x.dtype(), [&]<typename T>() -> std::optional<std::int64_t> {
    const T* const values = x.data<T>();
    for (std::int64_t k = 0, n = x.elements(); k < n; ++k)
      if (std::isnan(static_cast<double>(values[k]))) return k;
    return std::nullopt;
  });
}

}  // namespace

AnomalyScope::AnomalyScope() { ++scopes; }
AnomalyScope::~AnomalyScope() { --scopes; }

bool anomalies_refused() { return scopes > 0; }

void check_anomaly(const Tensor& result, std::span<const Tensor> inputs) {
  const auto place = first_nan(result);
  if (!place) return;
  for (std::size_t k = 0; k < inputs.size(); ++k)
    if (const auto given = first_nan(inputs[k]))
      throw Error(fmt::format("the result is nan at {}, as input {} is at {}", result.shape().index_text(*place), k,
                              inputs[k].shape().index_text(*given)));
  throw Error(fmt::format("the result is nan at {}, though no input is", result.shape().index_text(*place)));
}

}  // namespace twopass
