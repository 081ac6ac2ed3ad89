#include <twopass/graph/autodiff/coarse.h>

#include <algorithm>
#include <utility>

#include <twopass/graph/autodiff/subject.h>
#include <twopass/ops/library_ops.h>

namespace twopass {
namespace {

bool is_users(const Op& op) { return std::ranges::find(library_ops(), &op) == library_ops().end(); }

}  // namespace

// The library's own ops are as fine as what they give: some are flat between jumps, or have slopes that drown beside a
// large term, and are not that.
bool is_coarse(const AloneCall& call, std::uint64_t seed) {
  if (!is_users(*call.op) || call.node->dtype != f64 || !call.op->differentiable() || !has_floating(call.inputs))
    return false;
  // A call that reads f32 is told by what it reads.
  if (std::any_of(call.inputs.begin(), call.inputs.end(), [](const Tensor& x) { return x.dtype() == f32; }))
    return false;
  return rounds_to_f32([&](const Tensors& at) { return Tensors{apply(*call.op, call.arguments, at)}; }, call.inputs,
                       seed);
}

std::vector<AloneCall> coarse_calls(const Tensors& outputs, std::uint64_t seed) {
  std::vector<AloneCall> coarse;
  for (AloneCall& call : calls_behind(outputs))
    if (is_coarse(call, seed)) coarse.push_back(std::move(call));
  return coarse;
}

}  // namespace twopass
