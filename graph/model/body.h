// What a Model handle points to. For the files of this folder.
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/model/rows.h>
#include <twopass/graph/plan/plan.h>

namespace twopass {

/// The body of a model: a layer whose call runs the graph.
class ModelBody : public Layer {
 public:
  ModelBody(const TensorList& inputs, const TensorList& outputs, const ModelOptions& options);

  Tensors call(const Tensors& inputs, const CallContext& context) override;
  /// Rows for it in the order and dtypes of its inputs. Refuses tensors that it can't be called on for their number or
  /// shapes.
  Rows input_rows(const TensorList& inputs) const;
  std::string type() const override { return "Model"; }
  /// The name, or "model" where it has none.
  const std::string& title() const;
  std::vector<std::pair<std::string, LayerPointer>> parts() const override;
  std::vector<std::pair<std::string, Parameter>> own_parameters() const override;
  /// Seeds every part that has no value yet from `seed` and its path.
  void seed_parts(std::uint64_t seed, const std::string& path, bool fixed);

  /// The plan of this kind of step for tensors of these shapes, traced from `f` where there is none yet. None where
  /// plans are not wanted, and where `f` cannot be traced, as it reads values.
  const Plan* plan_for(const std::string& kind, const Tensors& tensors, const PlanFunction& f);
  /// What `f` gives, by its plan where there is one. What the plan refuses, `f` itself refuses with the layer's name.
  Tensors planned(const std::string& kind, const Tensors& tensors, const PlanFunction& f);
  void forget_plans();
  /// What runs op by op although plans are wanted, of those asked for since the last call of this, and why; empty where
  /// nothing does.
  std::string take_unplanned();
  /// bf16 where it was compiled for it, else the scope's.
  Precision call_precision() const override;

  ModelGraph graph;
  Tensors inputs;  // the user's symbols
  Tensors outputs;
  std::uint64_t seed = 0;
  bool seed_given = false;
  std::optional<CompileOptions> compiled;
  std::optional<Optimizer> loaded_optimizer;     // of a file whose losses or metrics no file can hold
  std::optional<CompileOptions> loaded_options;  // of a file that was compiled for bf16, which this machine lacks
  bool fitted = false;                           // fit is training it now
  Parameters outsiders;                          // what planned steps read and the model does not know, while frozen
  std::int64_t steps_done = 0;                   // training steps: what dropout draws from
  int epochs_done = 0;                           // epochs over all calls of fit: what shuffling draws from

  /// Throws the error that is being handled, with the model's name if it has one and the error names none.
  [[noreturn]] void refuse(const Error& error) const;

 private:
  std::mutex plans_mutex_;
  struct Planned {
    std::optional<Plan> plan;
    std::string why = {};  // all or a part of it runs op by op
  };
  std::map<std::string, Planned> plans_;
  std::string unplanned_;
};

}  // namespace twopass
