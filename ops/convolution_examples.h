// What convolutions are tried on, and pictures with numbers from outside. For the .cpp files of this folder.
#pragma once
#include <initializer_list>
#include <vector>

#include <twopass/ops/convolution_records.h>

namespace twopass::convolution {

using Samples = std::vector<OpRecord<ConvolutionArgs>::Sample>;

// Sums away from relu's kink: all above it, or all below.
template <bool kRelu>
Samples convolution_samples() {
  const auto draw = [](const Shape& shape) { return sample::uniform(shape, kRelu ? 0.5 : -1, 1.5); };
  Samples samples = {
      {{}, {draw({2, 2, 3, 4}), draw({3, 2, 2, 3}), draw({3})}},
      {{.strides = {2, 1}, .padding = {1, 0, 2, 1}, .dilation = {1, 2}}, {draw({1, 2, 4, 3}), draw({2, 2, 3, 2})}},
      {{.strides = {2, 2}, .same = true, .groups = 2}, {draw({2, 4, 3, 4}), draw({2, 2, 3, 3}), draw({2})}},
      {{.groups = 2}, {draw({2, 2, 2, 3}), draw({4, 1, 1, 1})}}};
  if (kRelu) samples.push_back({{}, {sample::positive({1, 1, 3, 3}), sample::uniform({2, 1, 2, 2}, -1, -0.5)}});
  return samples;
}

inline Tensor image(std::initializer_list<std::initializer_list<double>> rows) {
  const Tensor plane = tensor(rows, f64);
  return from_values(plane.values<double>(), {1, 1, plane.shape()[0], plane.shape()[1]}, f64);
}

// The pictures of Zhang and others, "Dive into Deep Learning", sections 7.2 and 7.3; a bias for relu to cut.
template <bool kRelu>
std::vector<OpRecord<ConvolutionArgs>::Example> convolution_examples() {
  const Tensor x = image({{0, 1, 2}, {3, 4, 5}, {6, 7, 8}}), kernel = image({{0, 1}, {2, 3}});
  const ConvolutionArgs strided{.strides = {3, 2}, .padding = {1, 1, 1, 1}};
  if (kRelu)
    return {{{}, {x, kernel, {-30.0}}, image({{0, 0}, {7, 13}})}, {strided, {x, kernel}, image({{0, 8}, {6, 8}})}};
  return {{{}, {x, kernel}, image({{19, 25}, {37, 43}})},
          {{}, {x, kernel, {1.0}}, image({{20, 26}, {38, 44}})},
          {strided, {x, kernel}, image({{0, 8}, {6, 8}})}};
}

}  // namespace twopass::convolution
