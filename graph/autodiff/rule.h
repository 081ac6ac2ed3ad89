// The rules of records, called with their errors placed and their results checked. For the files of this folder.
#pragma once
#include <string>

#include <twopass/core/error.h>
#include <twopass/core/place.h>
#include <twopass/core/tensor.h>
#include <twopass/ops/op.h>

namespace twopass {

/// What the gradient of a call says, one for each input. An error names the op and the layer that recorded it.
Tensors gradients_of(Node& node, const Call& call, const Tensor& g);
/// A gradient of input k, summed to its shape where the op broadcasts; refuses what the input cannot take.
Tensor checked_gradient(const Op& op, const Node& input, std::size_t k, Tensor gradient);
[[noreturn]] void rethrow_placed(const Error& error, const char* rule, Node& node, const std::string& layer);
/// Runs a rule of a call in the layer that recorded it; below an error that it throws stands "in the tangent of matmul
/// in layer "dense_1"".
template <typename F>
auto in_its_layer(const char* rule, Node& node, const F& run) {
  const PlaceLog* const log = PlaceLog::current();
  const std::string layer = log ? log->of(node) : std::string();
  try {
    const PlaceScope place(layer);
    return run();
  } catch (const Error& error) {
    rethrow_placed(error, rule, node, layer);
  }
}

}  // namespace twopass
