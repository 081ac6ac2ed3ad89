// How far roundings on the way move what a record computes. For the files of this folder.
#pragma once
#include <cstdint>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/graph/autodiff/alone.h>

namespace twopass {

/// What roundings of the values behind `outputs` do to Σ <seed, output>.
struct Roundings {
  double error = 0;  // the root of the sum of squares of ε value · derivative, over all elements of all recorded values
  double inside = 0;  // the same without the leaves, which are as they are
  double size = 0;    // of all without ε: of what numbers the sum is made
  double hidden = 0;  // the sum of those of values on the way that are small beside the error
};

/// √Σ x², also where squares are 0 or infinite; not finite where a number is not.
double norm_of(const std::vector<double>& numbers);

/// By the derivatives for all values on the way, which one reverse pass gives (S. Linnainmaa, "Taylor expansion of the
/// accumulated rounding error", 1976). The record must have kept its values (KeepingScope). A seed may be undefined:
/// nothing of that output.
/// What `coarse` calls read and give is rounded as f32 is.
Roundings roundings_of(const Tensors& outputs, const Tensors& seeds, const std::vector<AloneCall>& coarse);

/// What roundings on the way back do to Σ <seed, output> differentiated along `directions`, one for each of `of`: where
/// terms cancel there, gradients are off themselves. 0 where gradients have no derivative. That they are computed in
/// f32 where nothing behind the outputs is, and none of their calls is `coarse`, counts as a mistake, not as rounding.
double rounding_of_derivative(const Tensors& outputs, const Tensors& seeds, const Tensors& of,
                              const Tensors& directions, const std::vector<AloneCall>& coarse);

}  // namespace twopass
