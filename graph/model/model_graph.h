// The part of a graph between a model's inputs and outputs, as a list of steps.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <twopass/graph/layers/layer.h>

namespace twopass {

/// One thing that a model does, once: take an input, call a layer or an op, or use a value that its ops caught.
struct ModelStep {
  enum class Kind : std::uint8_t { input, layer, op, constant, parameter };
  /// Output number `output` of step number `step`.
  struct Source {
    std::size_t step;
    std::size_t output;
  };
  Kind kind;
  std::string name =
      {};  // unique in the model for inputs and layers ("dense_1"), the op's name for ops ("add", "add_1")
  LayerPointer layer = {};
  const Op* op = nullptr;
  ArgumentsPointer arguments = {};
  Tensor constant = {};
  Parameter parameter = {};
  std::vector<Source> inputs = {};
  std::vector<Spec> outputs = {};
  Tensors symbols = {};  // the tensors of the user's graph that this step gave
};

/// Steps in the order in which they run.
struct ModelGraph {
  std::vector<ModelStep> steps;
  std::vector<std::size_t> inputs;  // step numbers
  std::vector<ModelStep::Source> outputs;
  std::vector<std::string> input_names;
  std::vector<std::string> output_names;  // the names of the steps that give them, made unique by _1, _2
  std::vector<std::size_t> unused_inputs;

  /// Refuses tensors of another number or of other shapes than `run` takes.
  void check_inputs(const Tensors& inputs) const;
  /// Runs the steps on values, or inline on symbols (layers show their ops then). `inputs` in the order of `inputs`.
  Tensors run(const Tensors& inputs, const CallContext& context) const;
  /// What one step gives: `values[k]` holds the outputs of the steps before it.
  Tensors run_step(std::size_t step, const std::vector<Tensors>& values, const CallContext& context) const;
};

/// The graph between symbols. Refuses outputs that do not depend on symbols, symbols met that are no inputs ("graph
/// disconnected at ..."), names used twice by different layers, and inputs given twice.
ModelGraph trace_model(const TensorList& inputs, const TensorList& outputs);

}  // namespace twopass
