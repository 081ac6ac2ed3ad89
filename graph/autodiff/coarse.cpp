#include <twopass/graph/autodiff/coarse.h>

#include <algorithm>
#include <utility>

#include <twopass/graph/autodiff/subject.h>

namespace twopass {

std::vector<AloneCall> coarse_calls(const Tensors& outputs, std::uint64_t seed) {
  std::vector<AloneCall> coarse;
  for (AloneCall& call : calls_behind(outputs)) {
    if (call.node->dtype != f64 || !call.op->differentiable() || !has_floating(call.inputs)) continue;
    // A call that reads f32 is told by what it reads.
    const bool shows =
        std::any_of(call.inputs.begin(), call.inputs.end(), [](const Tensor& x) { return x.dtype() == f32; });
    const ManyFunction f = [&](const Tensors& at) { return Tensors{apply(*call.op, call.arguments, at)}; };
    if (!shows && rounds_to_f32(f, call.inputs, seed)) coarse.push_back(std::move(call));
  }
  return coarse;
}

}  // namespace twopass
