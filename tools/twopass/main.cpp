// The twopass program: trains, evaluates, checks, draws.
#include <fmt/format.h>
#include <twopass/core/files.h>
#include <twopass/ops/gemm.h>
#include <twopass/twopass.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "check.h"
#include "plan.h"
#include "plot.h"
#include "recipes.h"
#include "subject.h"
#include "usage.h"

using namespace twopass;

namespace {

struct Choice {
  std::string model, data = "glyphs", data_dir, out, file;
  int epochs = 0, verbose = 1;
  std::int64_t batch_size = 0;
  std::uint64_t seed = 7;
  std::string level = "layer";
  CheckChoice check;
  std::int64_t features = 0;
  std::string loss, optimizer;
  bool bf16 = false, eager = false;
  PlanChoice plan;
};

std::string names() {
  std::string list;
  for (const Recipe& recipe : recipes()) list += fmt::format("\n  {:<12} {}", recipe.name, recipe.about);
  return list;
}

void print_result(const Recipe& recipe, Model& model, const Data& data) {
  const Evaluation result = model.evaluate(data.test.inputs, data.test.targets, {.batch_size = 256});
  for (const auto& [name, value] : result.values())
    if (name != "loss" && name != accuracy_name(recipe)) fmt::print("test {} {:.4f}\n", name, value);
  fmt::print("test loss {:.4f} accuracy {:.4f}\n", result["loss"], result[accuracy_name(recipe)]);
}

void make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw Error(fmt::format("--out: the folder \"{}\" can't be made: {}", path, error.message()));
}

SubjectChoice subject(const Choice& choice) {
  return {.model = choice.model,
          .features = choice.features,
          .loss = choice.loss,
          .optimizer = choice.optimizer,
          .seed = choice.seed};
}

int train(const Choice& choice) {
  std::optional<Model> saved;
  if (is_model_file(choice.model)) saved = saved_model(choice.model);
  const Recipe& recipe = saved ? recipe_of(*saved, choice.model, "train") : recipe_named(choice.model);
  const Data data = data_for(recipe, choice.data, choice.data_dir, choice.seed);
  Model model = saved ? *saved : recipe.build(data.features, choice.seed);
  CompileOptions options = recipe.compile();
  options.run_eagerly = choice.eager;
  options.precision = choice.bf16 ? Precision::bf16 : Precision::single;
  model.compile(options);
  if (!choice.out.empty()) make_folder(choice.out);  // before the work, not after it
  model.summary();
  const auto begin = std::chrono::steady_clock::now();
  const History history = model.fit(data.train.inputs, data.train.targets,
                                    {.epochs = choice.epochs ? choice.epochs : recipe.epochs,
                                     .batch_size = choice.batch_size ? choice.batch_size : recipe.batch_size,
                                     .validation_split = 0.2,
                                     .verbose = choice.verbose});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  fmt::print("trained in {:.1f} s\n", seconds);
  if (!choice.out.empty()) {
    const std::string base = (std::filesystem::path(choice.out) / recipe.name).string();
    model.save(base + ".twopass");
    history.save_csv(base + ".csv");
    write_file(base + ".dot", to_dot(model));
    fmt::print("wrote {0}.twopass, {0}.csv and {0}.dot\n", base);
  }
  print_result(recipe, model, data);
  return 0;
}

int evaluate(const Choice& choice) {
  Model model = saved_model(choice.file);
  const Recipe& recipe = recipe_of(model, choice.file, "evaluate");
  const Data data = data_for(recipe, choice.data, choice.data_dir, choice.seed);
  model.compile(recipe.compile());
  print_result(recipe, model, data);
  return 0;
}

int draw(const Choice& choice) {
  if (!choice.loss.empty() && (choice.level == "layer" || choice.level == "op"))
    throw UsageError("--loss is for --level backward and plan: level " + choice.level + " draws none");
  std::string dot;
  if (choice.level == "plan") {
    dot = to_dot(step_plan_of(subject(choice), choice.plan));
  } else {
    Model model = model_of(subject(choice));
    if (choice.level == "backward") model.compile(options_for(model, subject(choice)));
    const DotLevel level = choice.level == "layer" ? DotLevel::layer
                           : choice.level == "op"  ? DotLevel::op
                                                   : DotLevel::backward;
    dot = to_dot(model, {.level = level});
  }
  if (choice.out.empty())
    fmt::print("{}", dot);
  else
    render(dot, choice.out);
  return 0;
}

int plot(const Choice& choice) {
  if (choice.file.ends_with(".csv")) {
    plot_history(choice.file, choice.out);
    return 0;
  }
  if (choice.file.ends_with(".dot"))
    throw UsageError(
        fmt::format("plot: \"{0}\" is a DOT file, which Graphviz draws (dot -Tsvg {0}); a history (.csv) or "
                    "a saved model (.twopass) is expected",
                    choice.file));
  const Model model = saved_model(choice.file);
  for (const auto& [path, parameter] : model.named_parameters()) {
    if (parameter.shape().rank() != 2 || parameter.shape()[1] > 10) continue;
    plot_templates(parameter.value(),
                   choice.data == "cifar10" ? std::vector<std::string>{"airplane", "automobile", "bird", "cat", "deer",
                                                                       "dog", "frog", "horse", "ship", "truck"}
                                            : std::vector<std::string>{},
                   choice.out);
    return 0;
  }
  throw Error(
      fmt::format("{}: no weights of at most ten classes are in it: plot draws those of `linear`", choice.file));
}

int info() {
  fmt::print("twopass {}\n", TWOPASS_VERSION);
  fmt::print("compiled with {} {}, C++{}\n",
#ifdef __clang__
             "clang", __clang_version__,
#else
             "g++", __VERSION__,
#endif
             __cplusplus / 100 % 100);
  fmt::print("products: {}\n", products_library());
  fmt::print("arithmetic on elements in plans: {}\n", plan_code());
  fmt::print("products in bf16: {}\n", bf16_available() ? "yes" : "no");
  fmt::print("instruction set of kernels: {}\n", kernel_instruction_set());
  fmt::print("libraries: fmt {}.{}.{}, Graphviz {}, CLI11 {}, JSON for Modern C++ {}.{}.{}\n", FMT_VERSION / 10000,
             FMT_VERSION / 100 % 100, FMT_VERSION % 100, graphviz_version(), CLI11_VERSION, NLOHMANN_JSON_VERSION_MAJOR,
             NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH);
  fmt::print("threads: {}\n", threads::count());
  fmt::print("ops: {}\n", all_ops().size());
  fmt::print("data: {}\n", data::directory_of());
  return 0;
}

int run(const std::string& command, const Choice& choice) {
  if (command == "train") return train(choice);
  if (command == "evaluate") return evaluate(choice);
  if (command == "gradcheck") return check_gradients(choice.check);
  if (command == "dot") return draw(choice);
  if (command == "plot") return plot(choice);
  if (command == "info") return info();
  if (command == "plan") {
    print_plan(subject(choice), choice.plan);
    return 0;
  }
  model_of(subject(choice)).summary();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"twopass: computation graphs, gradients in two passes, Keras-style models", "twopass"};
  app.require_subcommand(0, 1);  // so that a word that is none is named
  app.failure_message([&app](const CLI::App*, const CLI::Error& error) {
    const auto commands = app.get_subcommands();
    return fmt::format("twopass: {}\n`twopass {}--help` says more\n", complaint(app, error),
                       commands.empty() ? "" : commands[0]->get_name() + " ");
  });
  app.get_formatter()->column_width(32);  // so that "--model TEXT Excludes: --op" does not touch its description
  app.set_version_flag("--version", std::string("twopass ") + TWOPASS_VERSION);
  app.footer(
      "examples:\n  twopass train mlp --data mnist\n  twopass dot residual --level layer -o residual.svg\n  twopass "
      "gradcheck --op matmul\n\nexit codes: 0 done; 1 failed, or a gradient is wrong; 2 the command line is wrong; 3 "
      "no gradient is wrong, but "
      "not all could be told");
  Choice choice;
  const CLI::Range kCount(1, 1'000'000);
  int count = 0;
  app.add_option("--threads", count, "how many threads compute (default: one per processor)")
      ->check(CLI::Range(1, 1024));

  const auto with_data = [&](CLI::App* command) {
    command->add_option("--data", choice.data, "cifar10, mnist, or glyphs (built in, the default)")
        ->check(CLI::IsMember({"cifar10", "mnist", "glyphs"}));
    command->add_option("--data-dir", choice.data_dir,
                        "the folder of the data sets (default: $TWOPASS_DATA or the cache folder)");
    command->add_option("--seed", choice.seed, "what weights, shuffling, dropout and drawn digits follow from (7)")
        ->check(no_sign());
  };
  const auto with_loss = [&](CLI::App* command, std::string& loss) {
    return command->add_option(
        "--loss", loss, "the loss by name, instead of the model's own (mean_squared_error where a file has none)");
  };
  const auto with_model = [&](CLI::App* command) {
    command->add_option("model", choice.model, "a model's name, or a file that holds one (.twopass)")->required();
    command->footer("models:" + names() + "\n\n" + command->get_footer());
  };

  CLI::App* command = app.add_subcommand("train", "train a model and test it");
  command->footer(
      "examples:\n  twopass train lecture --data cifar10\n  twopass train mlp --data mnist --out runs --verbose 2");
  with_model(command);
  with_data(command);
  command->add_option("--epochs", choice.epochs, "instead of the model's own number")->check(kCount);
  command->add_option("--batch-size", choice.batch_size, "instead of 128")->check(kCount);
  command->add_option("--out", choice.out, "a folder for the model, its history and its DOT file");
  command->add_flag("--bf16", choice.bf16, "multiply in bf16, sum in f32, where the processor can");
  command->add_flag("--eager", choice.eager, "run op by op instead of planned steps");
  command->add_option("--verbose", choice.verbose, "0 quiet, 1 a progress bar, 2 a line an epoch")
      ->check(CLI::Range(0, 2));

  command = app.add_subcommand("evaluate", "test a saved model");
  command->add_option("file", choice.file, "what train --out wrote")->required();
  with_data(command);
  command->footer("example:\n  twopass evaluate runs/mlp.twopass --data mnist");

  command = app.add_subcommand("gradcheck", "check the gradients of ops, or of a model, against differences");
  command->add_option("--op", choice.check.ops, "one op or several, in detail");
  command
      ->add_option("--model", choice.check.model,
                   "every weight of a model by name, on drawn digits, or of a file (.twopass), on random rows")
      ->excludes(command->get_option("--op"));
  with_loss(command, choice.check.loss)->needs(command->get_option("--model"));
  command->add_option("--order", choice.check.order, "up to which derivatives (ops: 2, models: 1)")
      ->check(CLI::Range(1, 4));
  command
      ->add_option("--elements", choice.check.elements,
                   "larger inputs are checked at a subset (none where the whole takes a second, else 256 or less)")
      ->check(CLI::Range(1, 1'000'000'000));
  command->add_option("--seed", choice.check.seed, "what samples, subsets and directions are drawn from (1)")
      ->check(no_sign());
  command->add_flag("--full", choice.check.full, "a line for every pair of input and output");
  command->add_flag("--json", choice.check.json, "JSON instead of text");
  command
      ->add_option("--dot", choice.check.picture,
                   "a .dot, .svg, .png or .pdf file for the culprit among its neighbours")
      ->check(ending_in({".dot", ".svg", ".png", ".pdf"}));
  command->add_flag("--coverage", choice.check.coverage, "then a table of the ops that were met, and to which order");
  command->footer(
      "examples:\n  twopass gradcheck --op softmax\n  twopass gradcheck --model residual --json\n\nexit codes: 0 all "
      "passed; 1 a gradient is wrong, or the check failed; 2 the command line is wrong; 3 none is wrong, but not all "
      "could be told: unreliable, inconclusive, or not checked\n\nmodels:" +
      names());

  command = app.add_subcommand("dot", "draw a model");
  command->footer(
      "examples:\n  twopass dot multi-label --level backward -o backward.svg\n  twopass dot runs/mlp.twopass");
  with_model(command);
  with_loss(command, choice.loss);
  command->add_option("--level", choice.level, "layer, op, backward, or plan: what a training step runs")
      ->check(CLI::IsMember({"layer", "op", "backward", "plan"}));
  command->add_option("-o,--out", choice.out, "a .dot, .svg, .png or .pdf file (default: DOT on stdout)")
      ->check(ending_in({".dot", ".svg", ".png", ".pdf"}));
  command->add_option("--features", choice.features, "the size of the input (784)")->check(kCount);

  command = app.add_subcommand("plan", "print what a training step runs: kernels, shapes, work, memory");
  command->footer(
      "examples:\n  twopass plan mlp\n  twopass plan residual --profile\n  twopass plan linear --stages --without "
      "tiles,code\n\npasses:" +
      passes_text());
  with_model(command);
  with_loss(command, choice.loss);
  command->add_option("--optimizer", choice.optimizer,
                      "sgd, rmsprop, adam or adamw, instead of the model's own (rmsprop where a file has none)");
  command->add_option("--batch-size", choice.plan.batch_size, "instead of 128")->check(kCount);
  command->add_flag("--bf16", choice.plan.bf16, "with products in bf16, where the processor can");
  command->add_option("--without", choice.plan.without, "passes to leave out, for debugging: tiles,code")
      ->delimiter(',');
  command->add_flag("--profile", choice.plan.profile, "print what each step takes instead");
  command->add_flag("--stages", choice.plan.stages, "print how it was after each pass instead")
      ->excludes(command->get_option("--profile"));

  command = app.add_subcommand("summary", "print a model's layers");
  command->footer("example:\n  twopass summary ensemble");
  with_model(command);
  command->add_option("--features", choice.features, "the size of the input (784)")->check(kCount);

  command = app.add_subcommand("plot", "draw a history's curves, or a linear classifier's weights as images");
  command->add_option("file", choice.file, "a history (.csv) or a saved model (.twopass)")->required();
  command->add_option("-o,--out", choice.out, "a .svg or .png file")->required()->check(ending_in({".svg", ".png"}));
  command->add_option("--data", choice.data, "cifar10 puts its classes' names over the images")
      ->check(CLI::IsMember({"cifar10", "mnist", "glyphs"}));
  command->footer(
      "examples:\n  twopass plot runs/linear.csv -o curves.svg\n  twopass plot runs/linear.twopass -o templates.png");

  command = app.add_subcommand("info", "print version, libraries, threads and instruction set");
  command->footer("example:\n  twopass --threads 1 info");

  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) throw CLI::RequiredError("a subcommand");
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  try {
    if (count) threads::set_count(count);
    const int code = run(app.get_subcommands().at(0)->get_name(), choice);
    if (std::fflush(stdout) != 0) throw Error(fmt::format("stdout can't be written: {}", std::strerror(errno)));
    return code;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    fmt::print(stderr, "twopass: {}\n", error.what());
    return dynamic_cast<const UsageError*>(&error) ? 2 : 1;
  }
}
