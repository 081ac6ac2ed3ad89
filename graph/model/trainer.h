// One step of training and one of evaluation. For the files of this folder.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/model/body.h>
#include <twopass/graph/model/rows.h>

namespace twopass {

/// The compiled losses and metrics of a model, in the order of its outputs.
class Trainer {
 public:
  /// Refuses a model that was not compiled.
  Trainer(ModelBody& body, const std::string& what);

  /// Targets in the order of the model's outputs; floating ones become of their dtypes.
  Rows target_rows(const TensorList& targets) const;
  /// Refuses targets whose shapes or dtypes the losses and metrics refuse, in their words: for after an evaluation of a
  /// part of them has failed, so that the error tells of the whole.
  void check_targets(const Tensors& targets) const;
  /// A weight per row; none where `weights` is undefined.
  Rows weight_rows(const Tensor& weights, std::int64_t rows) const;

  /// What a step is about: `weights` may be undefined.
  struct Batch {
    Tensors inputs, targets;
    Tensor weights;
    std::int64_t rows() const { return inputs[0].shape()[0]; }
  };

  struct Losses {
    Tensor total;
    Tensors each;  // one per output, not weighted
  };
  Losses losses(const Tensors& outputs, const Batch& batch) const;
  /// Whether all of them are the library's own.
  bool losses_are_known() const;

  /// Shapes and dtypes of the targets that these outputs are compared with.
  std::vector<Spec> target_specs(const Tensors& outputs) const;

  /// Loss and metrics over the batches of an epoch.
  class Tally {
   public:
    explicit Tally(const Trainer& trainer);
    /// What a step measured: the total loss, that of each output, and each metric.
    void add(const Tensors& measured, std::int64_t rows);
    /// Sorted by name, each with `prefix` before it.
    Logs logs(const std::string& prefix = "") const;

   private:
    const Trainer& trainer_;
    std::vector<RunningMean> means_;
  };

  /// Makes the plan that train_step will run for such a batch, where there is none yet.
  void prepare(const Batch& batch) const;
  /// What train_step runs for such a batch.
  Plan step_plan(const Batch& batch, const PlanOptions& given = {}) const;
  /// Forward, loss, backward, update; refuses a loss that is not finite before anything is changed.
  void train_step(const Batch& batch, Tally& tally);
  /// Evaluates the first row, so that losses and metrics say what does not fit. Leaves states as they were.
  void try_first_row(const Rows& inputs, const Rows& targets, const Rows& weights) const;
  /// Calls the model on rows as a training step does. Leaves states as they were.
  void try_training(const Rows& inputs) const;
  Logs evaluate(const Rows& inputs, const Rows& targets, const Rows& weights, std::int64_t batch_size,
                const std::string& prefix) const;

 private:
  struct Watched {
    std::string name;
    std::size_t output;
    Metric metric;
  };
  /// What a step has that no step may have: parameters that the model does not know, or a loss without a gradient.
  struct Faults {
    Parameters strays = {};
    bool no_gradient = false;
  };
  void check_names() const;
  Error without_gradient() const;
  Rows checked_targets(const TensorList& targets) const;
  Tensors measured(const Losses& losses, const Tensors& outputs, const Batch& batch) const;
  /// The tensors of a batch behind one another, and back.
  static Tensors packed(const Batch& batch);
  Batch unpacked(const Tensors& tensors) const;
  Tensors step_inputs(const Batch& batch) const;
  const Plan* plan_for_step(const Tensors& step_inputs, const Batch& batch) const;
  Tensors traced_step(const Tensors& tensors, Faults& faults) const;
  Tensors eager_step(const Batch& batch) const;
  /// The gradients of a step's loss; refuses one that has none, noting it.
  Gradients gradients_of(Tensor loss, const Parameters& read, Faults& faults) const;
  void check_loss(const Tensor& total) const;
  void refuse(const Faults& faults, const Batch& batch) const;

  ModelBody& body_;
  std::vector<Loss> losses_;
  std::vector<double> weights_;
  std::vector<Watched> metrics_;
  Parameters parameters_;
  std::vector<std::string> names_;  // of those, as "dense/kernel"
  Tensors measured_;                // by the last planned step
};

}  // namespace twopass
