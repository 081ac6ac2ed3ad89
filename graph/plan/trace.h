// A function of tensors, run once on symbols, as a program. For the files of this folder.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <twopass/graph/plan/plan.h>
#include <twopass/graph/plan/program.h>

namespace twopass {

namespace planning {

/// What a function did on symbols, to be done again.
struct Traced {
  using Number = std::uint32_t;
  /// An input of the function, a parameter's value, a constant, a call, or a leaf that stands for another item without
  /// a derivative: where it is recorded, as its parameter was set to that.
  struct Item {
    enum class Kind : std::uint8_t { input, parameter, constant, call, leaf };
    Kind kind;
    Spec spec;
    bool recorded = false;
    const Op* op = nullptr;
    ArgumentsPointer arguments = {};
    std::vector<Number> inputs = {};
    Parameter parameter = {};
    Tensor constant = {};    // or one of its elements, which are all the same
    std::string place = {};  // of a call, as that of PlannedCall
  };
  std::vector<Item> items;  // inputs come before their users
  std::vector<Number> outputs;
  std::vector<std::pair<Parameter, Number>> updates;

  /// What it gives for these inputs: calls on symbols of the function that is being traced.
  Tensors inlined(const Tensors& given) const;
  /// What it gives for these inputs, and the values of its updates: each call by `apply`, on values, not recorded.
  std::pair<Tensors, Tensors> op_by_op(const Tensors& given) const;
};

/// Runs `f` once on symbols of these shapes; `options` may name inputs and outputs. Refuses what reads elements of a
/// symbol, as the program would do so too.
std::pair<Program, std::shared_ptr<const Traced>> trace(const PlanFunction& f, const std::vector<Spec>& inputs,
                                                        const PlanOptions& options);

}  // namespace planning
}  // namespace twopass
