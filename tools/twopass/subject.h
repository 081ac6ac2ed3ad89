// The model that a command is about: one of the program's own by name, or one of a file.
#pragma once
#include <twopass/twopass.h>

#include <cstdint>
#include <string>

#include "recipes.h"

struct SubjectChoice {
  /// A recipe's name, or a file.
  std::string model;
  /// The size of a recipe's input; 0: 784.
  std::int64_t features = 0;
  /// The name of a loss; empty: the recipe's, or for a file's model mean_squared_error.
  std::string loss;
  /// The name of an optimizer with its defaults; empty: that which the model was compiled with, or compile's default.
  std::string optimizer = {};
  std::uint64_t seed = 7;
};

/// A model with rows to try it on, not compiled yet.
struct Subject {
  twopass::Model model;
  twopass::CompileOptions options;
  Examples rows;
};

/// Whether a word of the command line is meant as a file: no recipe's name, but one that exists or ends as such files
/// do.
bool is_model_file(const std::string& word);
/// The model of a file; where there is none, it is said what files hold one.
twopass::Model saved_model(const std::string& file);
/// The recipe that a file's model was made by; refuses models of other names, with the command that asks.
const Recipe& recipe_of(const twopass::Model& model, const std::string& file, const char* command);
/// Refuses words that are neither a recipe's name nor a file.
twopass::Model model_of(const SubjectChoice& choice);
/// What a recipe's model is trained with. A file's is that which the file has, or that of the recipe whose name and
/// outputs it has; else it gets a loss that fits any, which is said on stderr.
twopass::CompileOptions options_for(twopass::Model& model, const SubjectChoice& choice);
/// The model with rows of drawn digits, or for a file's model random ones.
/// `rows` 0: as many as a step of training has.
Subject subject_of(const SubjectChoice& choice, std::int64_t rows);
