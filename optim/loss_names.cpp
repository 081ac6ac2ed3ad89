// Losses by their names, as files have them.
#include <fmt/format.h>

#include <functional>
#include <map>
#include <string>

#include <twopass/core/error.h>
#include <twopass/optim/loss_parts.h>
#include <twopass/optim/losses.h>

namespace twopass {
namespace {

using namespace losses;
using Maker = std::function<Loss(const Attributes&)>;

const std::map<std::string, Maker>& makers() {
  static const auto plain = [](Loss (*make)()) { return [make](const Attributes&) { return make(); }; };
  static const auto entropy = [](const Attributes& a) {
    return CrossentropyOptions{truth(a, "from_logits"), number(a, "label_smoothing", 0)};
  };
  static const std::map<std::string, Maker> all{
      {"categorical_crossentropy", [](const Attributes& a) { return categorical_crossentropy(entropy(a)); }},
      {"binary_crossentropy", [](const Attributes& a) { return binary_crossentropy(entropy(a)); }},
      {"sparse_categorical_crossentropy",
       [](const Attributes& a) { return sparse_categorical_crossentropy({truth(a, "from_logits")}); }},
      {"mean_squared_error", plain(mean_squared_error)},
      {"mean_absolute_error", plain(mean_absolute_error)},
      {"huber", [](const Attributes& a) { return huber({number(a, "delta", 1)}); }},
      {"mean_absolute_percentage_error", plain(mean_absolute_percentage_error)},
      {"mean_squared_logarithmic_error", plain(mean_squared_logarithmic_error)},
      {"log_cosh", plain(log_cosh)},
      {"smooth_absolute_error", [](const Attributes& a) { return smooth_absolute_error({number(a, "beta", 1)}); }},
      {"cosine_similarity", plain(cosine_similarity)},
      {"kl_divergence", plain(kl_divergence)},
      {"poisson", plain(poisson)},
      {"hinge", plain(hinge)},
      {"squared_hinge", plain(squared_hinge)},
      {"categorical_hinge", plain(categorical_hinge)},
      {"binary_focal_crossentropy",
       [](const Attributes& a) {
         return binary_focal_crossentropy({number(a, "gamma", 2), number(a, "alpha", 0.25),
                                           truth(a, "apply_class_balancing"), truth(a, "from_logits"),
                                           number(a, "label_smoothing", 0)});
       }},
      {"categorical_focal_crossentropy",
       [](const Attributes& a) {
         return categorical_focal_crossentropy({number(a, "gamma", 2), number(a, "alpha", 0.25),
                                                truth(a, "from_logits"), number(a, "label_smoothing", 0)});
       }},
      {"ctc", plain(ctc)},
      {"negative_log_likelihood", plain(negative_log_likelihood)}};
  return all;
}

}  // namespace

Loss loss_from(const std::string& name, const Attributes& attributes) {
  const auto found = makers().find(name);
  if (found != makers().end()) return found->second(attributes);
  std::string list;
  for (const auto& each : makers()) list += (list.empty() ? "" : ", ") + each.first;
  throw Error(fmt::format("there is no loss \"{}\": there are {}", name, list));
}

}  // namespace twopass
