// The plans of a model's steps.
#include <fmt/format.h>

#include <iterator>

#include <twopass/core/error.h>
#include <twopass/graph/model/body.h>
#include <twopass/ops/anomaly.h>

namespace twopass {

const Plan* ModelBody::plan_for(const std::string& kind, const Tensors& tensors, const PlanFunction& f) {
  if (AnomalyScope::current() || (compiled && compiled->run_eagerly)) return nullptr;
  std::string key = kind;
  for (const Tensor& x : tensors)
    fmt::format_to(std::back_inserter(key), " {}{}", name_of(x.dtype()), x.shape().text());
  const std::lock_guard lock(plans_mutex_);
  const auto known = plans_.find(key);
  if (known != plans_.end()) return known->second ? &*known->second : nullptr;
  std::optional<Plan>& made = plans_[key];
  try {
    made = plan(f, tensors, {.without = compiled ? compiled->without : std::vector<std::string>{}});
  } catch (const Error& error) {
    // Running it eagerly either works, as with a Lambda that looks at values, or says what is wrong.
    unplanned_ = error.what();
  }
  return made ? &*made : nullptr;
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
}

Precision ModelBody::call_precision() const {
  return compiled && compiled->precision == Precision::bf16 ? Precision::bf16 : products_precision();
}

std::string ModelBody::unplanned() {
  const std::lock_guard lock(plans_mutex_);
  return unplanned_;
}

}  // namespace twopass
