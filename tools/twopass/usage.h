// What is said of a command line that is wrong.
#pragma once
#include <twopass/core/error.h>

#include <string>
#include <vector>

namespace CLI {
class App;
class Error;
class Validator;
}  // namespace CLI

/// A command line that asks for what there is not: the program exits with 2, not with 1.
struct UsageError : twopass::Error {
  using twopass::Error::Error;
};

/// " (did you mean relu, elu or selu?)": the names nearest to a word by edits, or that have it in them; empty where
/// none is near.
std::string suggestion(const std::string& word, const std::vector<std::string>& names);
/// "lecture, mlp, linear".
std::string listed(const std::vector<std::string>& names);
/// What is wrong with a command line that CLI11 refuses, with what may have been meant.
std::string complaint(const CLI::App& app, const CLI::Error& error);
/// Refuses numbers below 0, which an option of unsigned numbers would take for large ones.
CLI::Validator no_sign();
/// Refuses a file's name that ends in none of these.
CLI::Validator ending_in(const std::vector<std::string>& endings);
