// Models: functions from inputs to outputs that are trained, saved and drawn, and are layers themselves.
#pragma once
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/graph/layers/layer.h>
#include <twopass/graph/model/callback.h>
#include <twopass/graph/model/history.h>
#include <twopass/graph/model/model_graph.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/precision.h>
#include <twopass/optim/loss.h>
#include <twopass/optim/metric.h>
#include <twopass/optim/optimizer.h>

namespace twopass {

struct ModelOptions {
  /// Weights, shuffling and dropout follow from it and the path of the part that draws. Not given: 0, or what the model
  /// that this one is nested in has.
  std::optional<std::uint64_t> seed = {};
  std::string name = {};
};

/// Optimizer, losses and metrics may be given by name: `{.optimizer = "adam", .loss = "mse", .metrics = {"accuracy"}}`.
struct CompileOptions {
  Optimizer optimizer = rmsprop();
  /// One for all outputs, or one per output name.
  LossMap loss = {};
  /// 1 for outputs that are not named.
  std::vector<std::pair<std::string, double>> loss_weights = {};
  MetricMap metrics = {};
  /// Steps are planned: traced once and then run as plans, in which layers, losses and metrics that look at values run
  /// op by op. This runs whole steps so, as a layer must that changes from step to step.
  bool run_eagerly = false;
  /// The names of passes that plans leave out, for debugging: see PlanOptions::without. Refuses those that there are
  /// not.
  std::vector<std::string> without = {};
  /// bf16: products multiply in bf16 and sum in f32, while weights, updates and everything else stay f32. Refused where
  /// processor or build can't.
  Precision precision = Precision::single;
};

struct ValidationData {
  TensorList inputs = {};
  TensorList targets = {};
};

struct FitOptions {
  /// The number of the last epoch.
  int epochs = 1;
  std::int64_t batch_size = 32;
  /// The last part of the rows, taken before shuffling: ceil(n s) rows.
  double validation_split = 0;
  /// Given, it takes the place of the split.
  ValidationData validation_data = {};
  /// One per row: the loss is Σ weight · loss / rows.
  Tensor sample_weight = {};
  /// Refuses inputs and targets, of validation too, that hold NaN or infinity, before the first step. Without it the
  /// first batch whose loss is not finite ends training, with its epoch, and what of it is not finite.
  bool check_finite = false;
  bool shuffle = true;
  /// 0 nothing, 1 a progress bar, 2 a line an epoch.
  int verbose = 1;
  std::vector<CallbackHandle> callbacks = {};
  /// The number of epochs already done: numbering goes on from it.
  int initial_epoch = 0;
};

struct EvaluateOptions {
  std::int64_t batch_size = 32;
  Tensor sample_weight = {};
  int verbose = 0;
};

/// What evaluate found: `result["loss"]`, and each metric under its name.
class Evaluation {
 public:
  explicit Evaluation(std::vector<std::pair<std::string, double>> values) : values_(std::move(values)) {}
  /// Refuses a name that is not there, listing those that are.
  double operator[](const std::string& name) const;
  const std::vector<std::pair<std::string, double>>& values() const { return values_; }

 private:
  std::vector<std::pair<std::string, double>> values_;
};

/// A layer of a model with its place in it.
class LayerInModel : public LayerHandle {
 public:
  LayerInModel(LayerPointer layer, Tensors inputs, Tensors outputs)
      : LayerHandle(std::move(layer)), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}
  /// The symbol that it takes or gives where it is called first; refuses layers of several.
  const Tensor& input() const;
  const Tensor& output() const;

 private:
  Tensors inputs_, outputs_;
};

class ModelBody;

/// A function from symbols to symbols. A handle: copies are the same model. Also a layer: call it on tensors or
/// symbols. Compiled for bf16 it multiplies in bf16 then, as predict does; a backward pass through what it gives has
/// the precision of the scope that it runs in.
class Model : public LayerHandle {
 public:
  /// No model: to be assigned one, and refused where it is used.
  Model() = default;
  /// What lies between `inputs` and `outputs`. Refuses what trace_model refuses.
  Model(const TensorList& inputs, const TensorList& outputs, const ModelOptions& options = {});
  explicit Model(std::shared_ptr<ModelBody> body);

  const ModelGraph& graph() const;
  const Tensors& inputs() const;
  const Tensors& outputs() const;
  const std::string& name() const;
  std::uint64_t seed() const;
  /// Each parameter once, with its path, in the order of the layers.
  std::vector<std::pair<std::string, Parameter>> named_parameters() const;
  std::int64_t count_parameters() const;
  /// The layer of a name; refuses others, listing those that there are.
  LayerInModel layer(const std::string& name) const;
  std::vector<std::pair<std::string, LayerHandle>> layers() const;

  /// Keras's table: layers, output shapes, parameter counts and, where the graph is not a chain, what each is connected
  /// to. The total counts what the optimizer keeps, once it does.
  std::string summary_text() const;
  void summary() const;

  /// What training is to do. Refuses losses, weights or metrics for outputs that there are not, or given twice for one,
  /// outputs without a loss, and, from a callback, a model that fit is training.
  void compile(const CompileOptions& options);
  bool compiled() const;
  /// That of compile; of a loaded model that is not compiled, the one that its file has the state of.
  const Optimizer& optimizer() const;

  /// Trains on rows of data (first axis) and returns the history. Data are cast to the inputs' dtypes; everything is
  /// checked before the first step: what becomes i64 must be whole numbers, the loss must have a gradient, and a batch
  /// of one row something to learn from. Refused in a callback of fit for the same model. Says so where steps, or a
  /// part of them, cannot be planned and run op by op.
  History fit(const TensorList& inputs, const TensorList& targets, const FitOptions& options = {});
  /// The plan of one training step for such a batch: to look at, draw or profile. Running it is left to fit. Passes are
  /// left out that the options name, or those of compile; inputs and outputs have the step's names. Refuses a model
  /// whose step cannot be planned, with the reason.
  Plan step_plan(const TensorList& inputs, const TensorList& targets, const PlanOptions& options = {});
  Evaluation evaluate(const TensorList& inputs, const TensorList& targets, const EvaluateOptions& options = {});
  /// The outputs for all rows, batch by batch; predict() refuses models of several outputs, predict_all() serves them.
  Tensor predict(const TensorList& inputs, std::int64_t batch_size = 32);
  Tensors predict_all(const TensorList& inputs, std::int64_t batch_size = 32);
  /// The compiled loss of one batch, with its record: what a training loop of your own differentiates, in products of
  /// the precision that calling the model has; a PrecisionScope gives it to the backward pass. In a function that
  /// plan() traces it is a part of the plan.
  Tensor loss(const TensorList& inputs, const TensorList& targets, const CallContext& context = {}) const;
  /// The gradient of the compiled loss for every trainable weight, as the next training step has it (the same dropout,
  /// moments of the batch), against numerical differentiation; with `{}` for the context as in inference, and for
  /// moving moments and frozen weights too. In double precision; a layer that takes f32 alone within f32's bounds,
  /// which is noted. Weights of more elements than the options say are checked at some of them and in directions. A
  /// failure names the op and its layer. Changes nothing.
  GradcheckReport check_gradients(const TensorList& inputs, const TensorList& targets,
                                  const GradcheckOptions& options = {},
                                  const CallContext& context = {.training = true}) const;

  /// One file: architecture as JSON, weights as safetensors; of a compiled model also what training goes on from, as
  /// far as losses, metrics and optimizer are the library's. Refuses layers and ops that no file can hold, or that load
  /// would not know, naming them: layers of the user's are made again and tried, whether they do the same.
  void save(std::string_view path) const;
  void save_weights(std::string_view path) const;
  /// Refuses missing, unknown and misshapen weights in one message, changing nothing.
  void load_weights(std::string_view path);

  ModelBody& body() const;
};

/// The plan of what the model gives for inputs of these shapes and dtypes, in the precision that calling it has; inputs
/// and outputs have the model's names unless the options say others.
Plan plan(const Model& model, const TensorList& inputs, const PlanOptions& options = {});

/// The model of a file that `save` wrote; it predicts the same bits. One that was compiled is compiled, and fit goes on
/// with the same bits as without the file. Where a loss or a metric was the user's own, or this processor lacks the
/// bf16 that it was compiled for, it is not compiled, but its optimizer goes on: compile({.optimizer =
/// model.optimizer(), .loss = …}). Of an optimizer with a rule or a schedule of the user's own the file holds slots and
/// number of updates: compile with one of the same name and slots that has done no update goes on from these, with the
/// rate that it is given.
Model load(std::string_view path);

}  // namespace twopass
