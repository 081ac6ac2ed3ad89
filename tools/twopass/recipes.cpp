#include "recipes.h"

#include <string>
#include <utility>

#include "usage.h"

using namespace twopass;

namespace {

constexpr std::int64_t kClasses = 10;

Model lecture(std::int64_t features, std::uint64_t seed) {
  Tensor pixels = input({features}, "pixels");
  Tensor x = Dense(20, {.activation = "relu"})(pixels);
  x = Dense(15, {.activation = "relu"})(x);
  return Model(pixels, Dense(kClasses, {.activation = "softmax"})(x), {.seed = seed, .name = "lecture"});
}

Model mlp(std::int64_t features, std::uint64_t seed) {
  Tensor image = input({features}, "image");
  Tensor x = Dense(512, {.activation = "relu"})(image);
  x = Dense(512, {.activation = "relu"})(x);
  return Model(image, Dense(kClasses, {.activation = "softmax"})(x), {.seed = seed, .name = "mlp"});
}

Model linear(std::int64_t features, std::uint64_t seed) {
  Tensor image = input({features}, "image");
  return Model(image, Dense(kClasses, {.activation = "softmax"})(image), {.seed = seed, .name = "linear"});
}

// Soft vote: the mean of the members' probabilities.
Model ensemble(std::int64_t features, std::uint64_t seed) {
  Tensor image = input({features}, "image");
  Tensors votes;
  for (int k = 0; k < 3; ++k) {
    const Model member =
        Sequential({Dense(64, {.activation = "relu"}), Dropout(0.2), Dense(kClasses, {.activation = "softmax"})},
                   {.input_shape = {features}, .name = "member_" + std::to_string(k)});
    votes.push_back(member(image));
  }
  return Model(image, Average()(votes), {.seed = seed, .name = "ensemble"});
}

// An image and what else is known about it.
Model multi_input(std::int64_t features, std::uint64_t seed) {
  Tensor image = input({features}, "image"), facts = input({8}, "facts");
  Tensor seen = Dense(64, {.activation = "relu"})(image);
  Tensor told = Dense(16, {.activation = "relu"})(facts);
  Tensor both = Concatenate()({seen, told});
  return Model({image, facts}, Dense(kClasses, {.activation = "softmax"})(both), {.seed = seed, .name = "multi-input"});
}

// The class and four yes-or-no answers from one trunk.
Model multi_label(std::int64_t features, std::uint64_t seed) {
  Tensor image = input({features}, "image");
  Tensor trunk = Dense(128, {.activation = "relu"})(image);
  Tensor digit = Dense(kClasses, {.activation = "softmax", .name = "digit"})(trunk);
  Tensor flags = Dense(4, {.activation = "sigmoid", .name = "flags"})(trunk);
  return Model(image, {digit, flags}, {.seed = seed, .name = "multi-label"});
}

// x + f(x), a hundred times. The last weights of each block begin at 0, so that the whole begins as the identity:
// without a normalisation, a hundred random blocks would multiply the signal beyond use (Zhang, Dauphin and Ma,
// "Fixup", 2019).
Model residual(std::int64_t features, std::uint64_t seed) {
  Tensor image = input({features}, "image");
  Tensor h = Dense(64, {.activation = "relu"})(image);
  for (int k = 0; k < 100; ++k)
    h = h + Dense(64, {.kernel_initializer = zeros_initializer()})(Dense(64, {.activation = "relu"})(h));
  return Model(image, Dense(kClasses, {.activation = "softmax"})(h), {.seed = seed, .name = "residual"});
}

CompileOptions with_sgd() { return {.optimizer = sgd(), .loss = categorical_crossentropy(), .metrics = {accuracy()}}; }
CompileOptions with_adam() {
  return {.optimizer = adam(), .loss = categorical_crossentropy(), .metrics = {accuracy()}};
}
// At one rate the last epochs wander by half a per cent; a falling one settles.
CompileOptions with_falling_adam() {
  return {
      .optimizer = adam({.learning_rate = exponential_decay({.initial = 1e-3, .decay_steps = 400, .decay_rate = 0.5})}),
      .loss = categorical_crossentropy(),
      .metrics = {accuracy()}};
}
CompileOptions with_careful_adam() {
  return {.optimizer = adam({.learning_rate = 5e-4, .global_clipnorm = 1}),
          .loss = categorical_crossentropy(),
          .metrics = {accuracy()}};
}
CompileOptions two_losses() {
  return {.optimizer = adam(),
          .loss = {{"digit", categorical_crossentropy()}, {"flags", binary_crossentropy()}},
          .loss_weights = {{"flags", 0.5}},
          .metrics = {{"digit", {accuracy()}}, {"flags", {binary_accuracy()}}}};
}

Examples examples(const Recipe& recipe, const data::Set& set) {
  const Tensor classes = one_hot(set.labels, kClasses);
  if (recipe.name == "multi-input") return {{set.inputs, set.facts}, classes};
  if (recipe.name == "multi-label") return {set.inputs, {classes, set.flags}};
  return {set.inputs, classes};
}

data::Split downloaded(const std::string& name, const std::string& directory) {
  try {
    return name == "mnist" ? data::mnist(directory) : data::cifar10(directory);
  } catch (const Error& error) {
    throw error.within(directory.empty() ? "--data-dir names another folder too"
                                         : "the folder is the one of --data-dir");
  }
}

}  // namespace

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> all = {
      {"lecture", "Dense 20, 15, 10 with SGD: the lecture's program", lecture, with_sgd, 10, 128},
      {"mlp", "Dense 512, 512, 10 with Adam, whose rate falls", mlp, with_falling_adam, 5, 128},
      {"linear", "one softmax layer: a template per class", linear, with_adam, 5, 128},
      {"ensemble", "three networks that vote with the mean of their probabilities", ensemble, with_adam, 5, 128},
      {"multi-input", "an image and eight side facts", multi_input, with_adam, 5, 128},
      {"multi-label", "the class and four yes-or-no answers", multi_label, two_losses, 5, 128},
      {"residual", "a hundred blocks x + f(x)", residual, with_careful_adam, 3, 128},
  };
  return all;
}

const Recipe* find_recipe(const std::string& name) {
  for (const Recipe& recipe : recipes())
    if (recipe.name == name) return &recipe;
  return nullptr;
}

const Recipe& recipe_named(const std::string& name) {
  if (const Recipe* recipe = find_recipe(name)) return *recipe;
  throw UsageError("there is no model \"" + name + "\"" + suggestion(name, recipe_names()) + ": it must be one of " +
                   listed(recipe_names()) + ", or a file that holds one (.twopass)");
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const Recipe& recipe : recipes()) names.push_back(recipe.name);
  return names;
}

Examples first_rows(const Examples& of, std::int64_t count) {
  const auto rows = [count](const TensorList& list) {
    Tensors first;
    for (const Tensor& x : list.tensors()) first.push_back(slice(x, 0, 0, count));
    return first;
  };
  return {rows(of.inputs), rows(of.targets)};
}

Data data_for(const Recipe& recipe, const std::string& name, const std::string& directory, std::uint64_t seed) {
  data::Set train, test;
  if (name == "glyphs") {
    train = data::glyphs({.samples = 12000, .seed = seed_of(seed, "train")});
    test = data::glyphs({.samples = 2000, .seed = seed_of(seed, "test")});
  } else if (name == "mnist" || name == "cifar10") {
    data::Split split = downloaded(name, directory);
    train = std::move(split.train);
    test = std::move(split.test);
  } else {
    throw Error("there is no data set \"" + name + "\": it must be cifar10, mnist or glyphs");
  }
  if (name == "cifar10" && (recipe.name == "multi-input" || recipe.name == "multi-label"))
    throw UsageError("cifar10 has no side facts and flags: " + recipe.name + " takes mnist or glyphs");
  const std::int64_t features = train.inputs.shape().back();
  return {examples(recipe, train), examples(recipe, test), features, train.classes};
}

std::string accuracy_name(const Recipe& recipe) { return recipe.name == "multi-label" ? "digit_accuracy" : "accuracy"; }
