// Calls of plans that run functions eagerly. For the files of graph.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <twopass/core/parameter.h>
#include <twopass/core/tensor.h>

namespace twopass {

class Op;

namespace planning {

using EagerFunction = std::function<Tensors(const Tensors&)>;

/// While a plan is traced: what `trace` gives, or where it is refused, as it reads elements, the outputs of f called
/// eagerly on `inputs`; what was refused is why. Throws that where f is refused too. f may set `states` in some runs
/// that it does not set when it is tried.
Tensors traced_or_eagerly(const std::function<Tensors()>& trace, const EagerFunction& f, const Tensors& inputs,
                          const Parameters& states = {});

/// Why a call runs a function eagerly; none where it doesn't.
const std::string* why_eagerly(const Op& op, const Arguments* arguments);

/// Whether a call's kernel reads its input k: some are there for derivatives alone.
bool reads_input(const Op& op, const Arguments* arguments, std::size_t k);

/// What a call that runs eagerly, or one that differentiates such a call, leaves for those behind it.
struct EagerStage;
using EagerStagePointer = std::shared_ptr<EagerStage>;
/// That of a call; none where there is none.
EagerStagePointer eager_stage(const Op& op, const Arguments* arguments);
/// That which a call differentiates; none where it differentiates none.
EagerStagePointer differentiated_stage(const Op& op, const Arguments* arguments);
using EagerStages = std::map<const EagerStage*, EagerStagePointer>;
/// The arguments of a call in another plan: with stages of that plan, made where `own` has none yet.
ArgumentsPointer with_own_stages(const Op& op, const ArgumentsPointer& arguments, EagerStages& own);
/// Lets go of what it left.
void release(EagerStage& stage);
/// The stages of a program's calls, ready for a run: each knows how many of these differentiate it.
std::vector<EagerStagePointer> ready_stages(const std::vector<std::pair<const Op*, const Arguments*>>& calls);

}  // namespace planning
}  // namespace twopass
