// Losses by their names, as files have them.
#include <fmt/format.h>

#include <cctype>
#include <functional>
#include <map>
#include <string>
#include <vector>

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

std::string folded(const std::string& name) {
  std::string plain;
  for (const char c : name)
    if (c != '_') plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return plain;
}

}  // namespace

std::string losses::full_name(const std::string& name, const std::vector<std::string>& names) {
  static const std::map<std::string, std::string> short_names{{"mse", "mean_squared_error"},
                                                              {"mae", "mean_absolute_error"},
                                                              {"mape", "mean_absolute_percentage_error"},
                                                              {"msle", "mean_squared_logarithmic_error"},
                                                              {"bce", "binary_crossentropy"},
                                                              {"kld", "kl_divergence"},
                                                              {"acc", "accuracy"}};
  const std::string plain = folded(name);
  const auto known = short_names.find(plain);
  const std::string wanted = folded(known == short_names.end() ? name : known->second);
  for (const std::string& each : names)
    if (folded(each) == wanted) return each;
  return {};
}

Loss loss_from(const std::string& name, const Attributes& attributes) {
  std::vector<std::string> names;
  for (const auto& each : makers()) names.push_back(each.first);
  const std::string full = full_name(name, names);
  if (!full.empty()) return makers().at(full)(attributes);
  throw Error(fmt::format("there is no loss \"{}\": there are {}", name, fmt::join(names, ", ")));
}

}  // namespace twopass
