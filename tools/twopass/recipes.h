// The models that the program trains by name, each with its data.
#pragma once
#include <twopass/twopass.h>

#include <cstdint>
#include <string>
#include <vector>

/// A model and how it is trained.
struct Recipe {
  std::string name;
  std::string about;
  twopass::Model (*build)(std::int64_t features, std::uint64_t seed);
  twopass::CompileOptions (*compile)();
  int epochs;
  std::int64_t batch_size;
};

/// lecture, mlp, linear, ensemble, multi-input, multi-label, residual.
const std::vector<Recipe>& recipes();
std::vector<std::string> recipe_names();
/// The recipe of a name, or none.
const Recipe* find_recipe(const std::string& name);
/// The recipe of a name; refuses others, with the nearest, all that there are, and that a file could be named.
const Recipe& recipe_named(const std::string& name);

/// The rows of a data set that a recipe takes and is asked for.
struct Examples {
  twopass::TensorList inputs;
  twopass::TensorList targets;
};
/// The first `count` of them.
Examples first_rows(const Examples& of, std::int64_t count);
struct Data {
  Examples train;
  Examples test;
  std::int64_t features = 0;
  std::vector<std::string> classes;
};
/// cifar10, mnist or glyphs as the recipe needs it.
Data data_for(const Recipe& recipe, const std::string& name, const std::string& directory, std::uint64_t seed);

/// Compiles and says what the model's accuracy is called ("accuracy", "digit_accuracy").
std::string accuracy_name(const Recipe& recipe);
