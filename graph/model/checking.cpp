// Model::check_gradients, and the callback that calls it.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/place.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/not_finite.h>
#include <twopass/graph/model/body.h>
#include <twopass/graph/model/states.h>
#include <twopass/graph/model/trainer.h>
#include <twopass/ops/anomaly.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

Tensors widened(const Tensors& tensors) {
  Tensors wide;
  for (const Tensor& x : tensors) wide.push_back(is_floating(x.dtype()) ? cast(x, f64) : x);
  return wide;
}

constexpr const char* kLoss = "the loss";  // where it is made, among layers

void note_not_finite(const char* what, const Tensors& tensors, const std::vector<std::string>& names,
                     GradcheckReport& report) {
  for (std::size_t k = 0; k < tensors.size(); ++k)
    if (const auto found = first_not_finite(tensors[k]))
      report.note(fmt::format("{} \"{}\" {}", what, names[k], *found));
}

bool all_finite(const Tensors& tensors) {
  return std::none_of(tensors.begin(), tensors.end(), [](const Tensor& x) { return first_not_finite(x).has_value(); });
}

class GradientChecks : public Callback {
 public:
  explicit GradientChecks(GradientChecksOptions options) : options_(std::move(options)) {
    if (options_.every < 0 || options_.rows < 1)
      throw Error(fmt::format("gradient_checks: every must not be negative and rows at least 1, not {} and {}",
                              options_.every, options_.rows));
  }

  bool adds_to_logs() const override { return false; }
  void on_train_begin(TrainingState&) override { begun_ = false; }
  void on_epoch_begin(TrainingState&, int epoch) override { epoch_ = epoch; }

  void on_batch_begin(TrainingState& state, std::int64_t step) override {
    if (step != 0 || (begun_ && (options_.every == 0 || epoch_ % options_.every != 0))) return;
    begun_ = true;
    const auto part = [&](const Tensors& batch) {
      Tensors rows;
      for (const Tensor& x : batch) rows.push_back(slice(x, 0, 0, std::min(options_.rows, x.shape()[0])));
      return rows;
    };
    const GradcheckReport report = state.model.check_gradients(part(state.inputs), part(state.targets),
                                                               {.elements = options_.elements, .seed = options_.seed});
    if (options_.report) return options_.report(epoch_, report);
    if (report.wrong())
      throw Error(fmt::format("the gradients of model \"{}\" are wrong at the beginning of epoch {}:\n{}",
                              state.model.name(), epoch_ + 1, report.text()));
  }

  // What the data hold, by row, the error says itself: no op made it.
  void on_step_error(TrainingState& state, std::int64_t, const Error& error) override {
    if (!all_finite(state.inputs) || !all_finite(state.targets)) return;
    const AnomalyScope anomalies;
    const StateGuard states(state.model.parameters());
    try {
      const CallContext context{
          .training = true, .seed = state.model.seed(), .step = tensor(state.model.body().steps_done)};
      backward(state.model.loss(state.inputs, state.targets, context));
    } catch (const Error& first) {
      if (anomalies.found()) throw Error(fmt::format("{}\nthe first anomaly: {}", error.what(), first.what()));
    }
  }

 private:
  GradientChecksOptions options_;
  bool begun_ = false;
  int epoch_ = 0;
};

}  // namespace

GradcheckReport Model::check_gradients(const TensorList& inputs, const TensorList& targets,
                                       const GradcheckOptions& options, const CallContext& context) const {
  ModelBody& own = body();
  const Trainer trainer(own, "check_gradients");
  const Rows rows = own.input_rows(inputs);
  const Rows wanted = trainer.target_rows(targets);
  check_rows(rows, wanted, "check_gradients");
  Parameters parameters, others;  // others are no part of training: constants here
  Tensors values;
  GradcheckOptions named = options;
  named.names.clear();
  for (const auto& [path, parameter] : named_parameters()) {
    if (context.training && !parameter.trainable()) {
      others.push_back(parameter);
      continue;
    }
    parameters.push_back(parameter);
    values.push_back(parameter.value());
    named.names.push_back(path);
  }
  if (parameters.empty()) {
    GradcheckReport report;
    report.set_seed(options.seed);
    report.note(fmt::format("nothing was checked: {}",
                            others.empty() ? "the model has no parameters" : "every parameter is frozen"));
    return report;
  }
  CallContext at = context;
  if (at.seed == 0) at.seed = own.seed;
  if (!at.step.defined()) at.step = tensor(own.steps_done);
  const StateGuard states(this->parameters());
  Tensors narrow_others;
  for (const Parameter& each : others) narrow_others.push_back(each.value());
  const Tensors wide_others = widened(narrow_others);
  // A check in double precision gives wide weights; where a layer refuses these, it comes back with the model's own.
  const Tensors own_rows = rows.batch(), own_wanted = wanted.batch();
  const Tensors wide_rows = widened(own_rows), wide_wanted = widened(own_wanted);
  const auto total = [&](const Tensors& weights) {
    const bool wide = std::all_of(weights.begin(), weights.end(), [](const Tensor& w) { return w.dtype() == f64; });
    const Substitution scope(parameters, weights), constants(others, wide ? wide_others : narrow_others);
    const Tensors x = wide ? wide_rows : own_rows, y = wide ? wide_wanted : own_wanted;
    const Tensors outputs = own.call(x, at);
    const PlaceScope place(kLoss);
    return trainer.losses(outputs, {x, y, {}}).total;
  };
  // The branches of the library's losses are tried by its tests: that a guard against log 0 does nothing is no news.
  if (trainer.losses_are_known()) named.known.push_back(kLoss);
  GradcheckReport report = gradcheck(total, values, named);
  note_not_finite("input", own_rows, own.graph.input_names, report);
  note_not_finite("targets", own_wanted, own.graph.output_names, report);
  return report;
}

CallbackHandle gradient_checks(const GradientChecksOptions& options) {
  return std::make_shared<GradientChecks>(options);
}

}  // namespace twopass
