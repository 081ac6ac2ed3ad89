// What tests of convolutions and pools check.
#pragma once
#include <doctest/doctest.h>

#include <functional>
#include <vector>

#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/rearranging.h>

#include "with_sines.h"

namespace twopass {

using Values = std::vector<double>;

inline void check_ends(const Tensor& found, const Values& first, const Values& last = {}, double epsilon = 1e-12) {
  const Values values = found.values<double>();
  REQUIRE(values.size() >= first.size() + last.size());
  for (std::size_t k = 0; k < first.size(); ++k) CHECK(values[k] == doctest::Approx(first[k]).epsilon(epsilon));
  for (std::size_t k = 0; k < last.size(); ++k)
    CHECK(values[values.size() - last.size() + k] == doctest::Approx(last[k]).epsilon(epsilon));
}

inline void check_gradients(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs, int order = 1) {
  const GradcheckReport report = gradcheck(f, inputs, {.order = order});
  INFO(report.text());
  CHECK(report.ok());
}

// Channels last give the same numbers, moved.
inline void check_channels_last(const Tensor& first, const Tensor& last) {
  CHECK(moveaxis(last, -1, 1).shape() == first.shape());
  CHECK(moveaxis(last, -1, 1).values<double>() == first.values<double>());
}

}  // namespace twopass
