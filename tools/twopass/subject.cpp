#include "subject.h"

#include <fmt/format.h>
#include <twopass/graph/model/body.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "usage.h"

using namespace twopass;

namespace {

constexpr std::int64_t kOpenSize = 8;  // of axes that are open beside the batch
constexpr std::int64_t kRows = 128;

Loss loss_named(const std::string& name) {
  try {
    return loss_from(name);
  } catch (const Error& error) {
    throw UsageError(fmt::format("--loss: {}", error.what()));
  }
}

Optimizer optimizer_named(const std::string& name) {
  const std::vector<std::pair<std::string, Optimizer>> all{
      {"sgd", sgd()}, {"rmsprop", rmsprop()}, {"adam", adam()}, {"adamw", adamw()}};
  std::vector<std::string> names;
  for (const auto& [each, optimizer] : all) {
    if (each == name) return optimizer;
    names.push_back(each);
  }
  throw UsageError(fmt::format("--optimizer: there is no optimizer \"{}\"{}: it must be one of {}", name,
                               suggestion(name, names), listed(names)));
}

// What the command line asks for in place of the model's own.
CompileOptions chosen(CompileOptions own, const SubjectChoice& choice) {
  if (!choice.loss.empty()) own.loss = loss_named(choice.loss);
  if (!choice.optimizer.empty()) own.optimizer = optimizer_named(choice.optimizer);
  return own;
}

// Numbers around 0; of integers 0 and 1, which are classes and words of any vocabulary.
Tensor random_rows(Random& random, Shape shape, DType dtype, std::int64_t rows) {
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (shape[axis] == kOpen) shape = shape.with(axis, axis == 0 ? rows : kOpenSize);
  return is_floating(dtype) ? random.normal(shape, dtype) : cast(random.integers(shape, 0, 2), dtype);
}

// Labels of a sequence, none of them the blank, so few that they fit with blanks between equal ones.
Tensor random_sequences(Random& random, const Shape& predictions) {
  return random.integers({predictions[0], (predictions[1] + 1) / 2}, 1, predictions.back());
}

// What each loss takes: labels, or numbers between 0 and 1.
Tensors random_targets(Random& random, const Tensors& predictions, const CompileOptions& options,
                       const std::vector<std::string>& names) {
  Tensors targets;
  for (std::size_t k = 0; k < predictions.size(); ++k) {
    const Loss* loss = options.loss.single();
    for (const auto& [name, named] : options.loss.named())
      if (name == names[k]) loss = &named;
    const Shape& shape = predictions[k].shape();
    if (loss && loss->name() == "ctc" && shape.rank() == 3) {
      targets.push_back(random_sequences(random, shape));
      continue;
    }
    targets.push_back(loss && loss->takes_labels() ? random.integers(shape.without(-1), 0, shape.back())
                                                   : random.uniform(shape, predictions[k].dtype()));
  }
  return targets;
}

Subject subject_of_file(const SubjectChoice& choice, std::int64_t rows) {
  Subject subject{saved_model(choice.model), {}, {}};
  subject.options = options_for(subject.model, choice);
  Random random(choice.seed);
  Tensors inputs;
  for (const Tensor& each : subject.model.inputs())
    inputs.push_back(random_rows(random, each.shape(), each.dtype(), rows ? rows : kRows));
  subject.rows = {
      inputs, random_targets(random, subject.model.call(inputs), subject.options, subject.model.graph().output_names)};
  return subject;
}

// load's error without the advice to make a layer or op known, which is for programs that have it; or nothing where it
// gave none.
std::string of_unknown_code(std::string what) {
  for (const std::string_view advice : {"register_layer() makes it known", "define() it before load()"})
    if (const auto at = what.find(advice); at != std::string::npos)
      return what.replace(at, advice.size(), "twopass knows the library's alone, and your own program yours");
  return {};
}

}  // namespace

bool is_model_file(const std::string& word) {
  std::error_code none;
  return !find_recipe(word) && (word.ends_with(".twopass") || std::filesystem::exists(word, none));
}

CompileOptions options_for(Model& model, const SubjectChoice& choice) {
  if (model.compiled() && choice.loss.empty()) return chosen(*model.body().compiled, choice);
  const Recipe* const recipe = find_recipe(model.name());
  if (recipe && choice.loss.empty()) {
    try {
      const CompileOptions own = chosen(recipe->compile(), choice);
      model.compile(own);
      return own;
    } catch (const UsageError&) {
      throw;
    } catch (const Error&) {
      // Another model of that name.
    }
  }
  if (choice.loss.empty())
    fmt::print(stderr, "twopass: {} holds no loss: mean_squared_error is taken, which --loss changes\n", choice.model);
  return chosen({.loss = mean_squared_error()}, choice);
}

Model saved_model(const std::string& file) {
  try {
    return load(file);
  } catch (const Error& error) {
    if (const std::string unknown = of_unknown_code(error.what()); !unknown.empty()) throw Error(unknown);
    throw error.within(find_recipe(file)
                           ? fmt::format("a file is expected; \"{0}\" is a model's name, and `twopass train {0} --out "
                                         "runs` writes runs/{0}.twopass",
                                         file)
                           : "a saved model is expected, as `twopass train mlp --out runs` writes to runs/mlp.twopass");
  }
}

const Recipe& recipe_of(const Model& model, const std::string& file, const char* command) {
  if (const Recipe* const recipe = find_recipe(model.name())) return *recipe;
  throw Error(fmt::format("{}: its model is \"{}\", but {} knows the data of {} only", file, model.name(), command,
                          listed(recipe_names())));
}

Model model_of(const SubjectChoice& choice) {
  constexpr std::int64_t kFeatures = 784;
  if (!is_model_file(choice.model))
    return recipe_named(choice.model).build(choice.features ? choice.features : kFeatures, choice.seed);
  if (choice.features)
    throw UsageError(fmt::format("--features is for models by name: {} has its inputs", choice.model));
  return saved_model(choice.model);
}

Subject subject_of(const SubjectChoice& choice, std::int64_t rows) {
  if (is_model_file(choice.model)) return subject_of_file(choice, rows);
  const Recipe& recipe = recipe_named(choice.model);
  const Data data = data_for(recipe, "glyphs", "", choice.seed);
  return {recipe.build(data.features, choice.seed), chosen(recipe.compile(), choice),
          first_rows(data.train, rows ? rows : recipe.batch_size)};
}
