// What the files of losses share. For the .cpp files of this folder.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <twopass/optim/loss.h>

namespace twopass {

struct Loss::Body {
  std::string name;
  Attributes attributes = {};
  Function function = {};
  bool own = false;
  bool labels = false;
};

struct LossMaker {
  static Loss make(std::string name, Attributes attributes, Loss::Function function) {
    return made({std::move(name), std::move(attributes), std::move(function)});
  }
  static Loss made(Loss::Body body) { return Loss(std::make_shared<const Loss::Body>(std::move(body))); }
};

namespace losses {

/// Keras's epsilon.
constexpr double kEpsilon = 1e-7;
constexpr const char* kLogitsAdvice = "no probability; say .from_logits = true where they are logits";

/// Refuses predictions of one axis.
void check_vectors(const Tensor& predictions);
/// What gives targets the shape that is wanted, for the end of a message; empty where nothing plain does.
std::string shape_advice(const Shape& targets, const Shape& wanted);
/// The targets in the dtype of the predictions. Refuses another shape.
Tensor targets_like(const Tensor& targets, const Tensor& predictions);
/// (n, 1) labels stand for (n,): Keras's rule. Refuses what is not one label for each prediction.
Tensor labels_for(const Tensor& targets, const Tensor& predictions);
Tensor mean_of_last(const Tensor& x);
void check_smoothing(double smoothing);
/// Refuses predictions of one class only.
void check_classes(const Tensor& predictions);
/// p / Σ p held to [ε, 1 - ε].
Tensor probabilities(const Tensor& predictions);

/// A name as the library has it, of one that is written in another case, without _, or short as Keras has it; empty
/// where it is none of `names`.
std::string full_name(const std::string& name, const std::vector<std::string>& names);

double number(const Attributes& attributes, const char* name, double otherwise);
bool truth(const Attributes& attributes, const char* name);

}  // namespace losses
}  // namespace twopass
