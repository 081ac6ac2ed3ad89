// The plans of a model's steps.
#include <fmt/format.h>

#include <iterator>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/graph/model/body.h>
#include <twopass/graph/plan/body.h>
#include <twopass/graph/plan/eager_calls.h>
#include <twopass/ops/anomaly.h>

namespace twopass {

namespace {

// "lambda runs op by op, as it cannot be planned: …" for the first part of a plan that does; empty where none does.
std::string eager_part(const Plan& plan) {
  for (const planning::PlannedCall& call : plan.body().machine.program().calls)
    if (const std::string* const why = planning::why_eagerly(*call.op, call.arguments.get()))
      return fmt::format("{} runs op by op, as it cannot be planned: {}",
                         call.place.empty() ? "a loss or a metric" : call.place, *why);
  return {};
}

}  // namespace

const Plan* ModelBody::plan_for(const std::string& kind, const Tensors& tensors, const PlanFunction& f) {
  if (AnomalyScope::current() || (compiled && compiled->run_eagerly)) return nullptr;
  std::string key = kind;
  for (const Tensor& x : tensors)
    fmt::format_to(std::back_inserter(key), " {}{}", name_of(x.dtype()), x.shape().text());
  const std::lock_guard lock(plans_mutex_);
  const auto [known, added] = plans_.try_emplace(key);
  Planned& made = known->second;
  if (added) try {
      made.plan = plan(f, tensors, {.without = compiled ? compiled->without : std::vector<std::string>{}});
      made.why = eager_part(*made.plan);
    } catch (const Error& error) {
      // Running it eagerly either works, as with a layer that reads values and changes its state, or says what is
      // wrong.
      made.why = fmt::format("steps run op by op, as they cannot be planned: {}", error.what());
    }
  if (unplanned_.empty()) unplanned_ = made.why;
  return made.plan ? &*made.plan : nullptr;
}

Tensors ModelBody::planned(const std::string& kind, const Tensors& tensors, const PlanFunction& f) {
  if (const Plan* plan = plan_for(kind, tensors, f)) {
    try {
      return (*plan)(tensors);
    } catch (const Error&) {
      // A plan's errors name no layers; nothing has changed.
    }
  }
  return f(tensors);
}

void ModelBody::forget_plans() {
  const std::lock_guard lock(plans_mutex_);
  plans_.clear();
  unplanned_.clear();
  outsiders.clear();
}

Precision ModelBody::call_precision() const {
  return compiled && compiled->precision == Precision::bf16 ? Precision::bf16 : products_precision();
}

std::string ModelBody::take_unplanned() {
  const std::lock_guard lock(plans_mutex_);
  return std::exchange(unplanned_, {});
}

}  // namespace twopass
