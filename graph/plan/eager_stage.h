// What eager calls of a plan leave for the calls behind them. For the files of this folder.
#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include <twopass/core/tensor.h>
#include <twopass/graph/plan/eager_calls.h>
#include <twopass/ops/record.h>

namespace twopass::planning {

/// Tensors that were computed from others, with the record: by a call of a function, or by one that differentiates
/// another stage. It is filled when it is tried while a plan is traced, and again in each run: calls of a plan run one
/// at a time. Where there are several results the call gives a token, and other calls give the results.
struct EagerStage {
  std::vector<Spec> specs;                   // of the results
  std::size_t first = 0;                     // the call's inputs from here on are the leaves
  std::vector<std::vector<bool>> reached;    // which leaves each result depends on, once it was tried
  std::function<void(EagerStage&)> attempt;  // tries it on stand-ins

  bool asked = false;       // whether the plan asks for derivatives: then it must depend on what it did when tried
  int readers = 0;          // calls of the plan that differentiate it,
  int open = 0;             // and those that are still to come in this run
  std::uint64_t start = 0;  // what was there before has smaller numbers
  Tensors leaves;
  Tensors results;
  Tensors values;  // of several results, until they are read
};

/// Which of the leaves each result depends on. Refuses recorded tensors from before the stage that are none of them;
/// what a function makes itself nobody else can ask for.
std::vector<std::vector<bool>> reached_in(const EagerStage& stage);

/// Applies the op of a stage: its results.
Tensors apply_stage(const Op& op, ArgumentsPointer arguments, const Tensors& inputs, const EagerStagePointer& stage);

/// What the kernel of a stage's call does in the end: hands `stage.results` on. Refuses results that depend on other
/// leaves than when it was tried.
void finish_stage(EagerStage& stage, const Output& out);

/// The rule of both ops of stages.
Tensors stage_gradients(const EagerStagePointer& stage, const Call& call, const Tensor& g);

/// That of a call of a function; none for other calls.
EagerStagePointer stage_of_function(const Op& op, const Arguments* arguments);

/// The same stage of another plan.
EagerStagePointer own_stage(const EagerStagePointer& stage, EagerStages& own);
/// As with_own_stages, for calls of functions; none for other calls.
ArgumentsPointer function_with_own_stage(const Op& op, const ArgumentsPointer& arguments, EagerStages& own);

/// A tensor with what a view shows.
Tensor copied(const View& view);

/// Not to be run beside another: functions may share with others what is made for one thread.
inline constexpr auto kAlone = [](const auto&, const Specs&) { return std::numeric_limits<double>::infinity(); };

}  // namespace twopass::planning
