// What training goes on from after save and load.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/core/safetensors.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/layers/normalization.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>

#include "changed_file.h"
#include "temporary_folder.h"

using namespace twopass;
using doctest::Contains;
using nlohmann::json;

namespace {

// Dropout draws by the number of the step, fit shuffles by that of the epoch, and moving moments are states.
Model two_headed() {
  const Tensor x = input({4}, "x");
  const Tensor trunk = Dropout(0.25)(BatchNormalization()(Dense(8, {.activation = "relu"})(x)));
  return Model(x, {Dense(3, {.activation = "softmax", .name = "digit"})(trunk), Dense(2, {.name = "flags"})(trunk)},
               {.seed = 5});
}

CompileOptions options_with(const Optimizer& optimizer) {
  return {.optimizer = optimizer,
          .loss = {{"digit", categorical_crossentropy({.label_smoothing = 0.1})}, {"flags", huber({.delta = 0.5})}},
          .loss_weights = {{"flags", 0.5}},
          .metrics = {{"digit", {accuracy()}}, {"flags", {metric(mean_absolute_error())}}}};
}

Tensor rows(std::int64_t columns, std::uint64_t seed) { return Random(seed).uniform({21, columns}); }

History train(Model& model, int epochs) {
  return model.fit(rows(4, 1), {rows(3, 2), rows(2, 3)},
                   {.epochs = epochs, .batch_size = 4, .validation_split = 0.2, .verbose = 0});
}

// Everything that a fit leaves.
std::vector<std::vector<double>> state_of(const Model& model, const History& history) {
  std::vector<std::vector<double>> all;
  for (const std::string& name : history.names()) all.push_back(history[name]);
  for (const Parameter& each : model.parameters()) all.push_back(each.value().values<double>());
  for (const auto& each : model.optimizer().state(model.named_parameters())) {
    const Tensor value = cast(each.second, f64);
    all.push_back(value.values<double>());
  }
  return all;
}

struct Scratch {
  TemporaryFolder folder;
  std::string path = folder.at("model.twopass");
};

Model small(const Loss& loss, const Optimizer& optimizer = adam()) {
  const Tensor x = input({4});
  Model model(x, Dense(3)(x), {.seed = 2});
  model.compile({.optimizer = optimizer, .loss = loss});
  return model;
}

std::string refusal(const std::function<void(json&)>& change) {
  return refusal_of_changed(small(mean_squared_error()), [&](json& whole) { change(whole["training"]); });
}

}  // namespace

TEST_CASE("F22, T6: fit after save and load goes on with the bits of a fit that was not interrupted") {
  const Scratch file;
  const std::vector<std::function<Optimizer()>> optimizers{
      [] { return sgd(); }, [] { return sgd({.momentum = 0.9, .nesterov = true, .clipnorm = 1}); },
      [] { return rmsprop({.momentum = 0.5, .centered = true}); }, [] { return adam(); },
      [] { return adamw({.learning_rate = exponential_decay({.initial = 0.01, .decay_steps = 5})}); }};
  for (const auto& optimizer : optimizers) {
    for (const bool run_eagerly : {false, true}) {
      Model straight = two_headed(), parted = two_headed();
      for (Model* each : {&straight, &parted}) {
        CompileOptions options = options_with(optimizer());
        options.run_eagerly = run_eagerly;
        each->compile(options);
        train(*each, 2);
      }
      parted.save(file.path);
      Model again = load(file.path);
      REQUIRE(again.compiled());
      CAPTURE(again.optimizer().name());
      const History first = train(straight, 2), second = train(again, 2);
      CHECK(first.names() == second.names());
      CHECK(state_of(straight, first) == state_of(again, second));
      CHECK(again.optimizer().iterations() == 4 * 4);
    }
  }
}

TEST_CASE("a rate that was set, frozen layers and a model that has not been trained yet go on too") {
  const Scratch file;
  Model straight = two_headed(), parted = two_headed();
  for (Model* each : {&straight, &parted}) {
    each->compile(options_with(adam()));
    each->optimizer().set_learning_rate(0.25);
    each->layer("digit").set_trainable(false);
  }
  parted.save(file.path);
  Model again = load(file.path);
  CHECK(again.optimizer().learning_rate() == 0.25);
  const History first = train(straight, 1), second = train(again, 1);
  CHECK(state_of(straight, first) == state_of(again, second));
}

TEST_CASE(
    "what is frozen, down to single parameters, is what is frozen after load, and fit goes on with the same bits") {
  // Neither its own parameters nor an outer layer tell that the part within is frozen; the moments are those of a batch
  // only where it is not.
  struct Block : Layer {
    LayerHandle dense = Dense(4, {.name = "inner"}), norm = BatchNormalization();
    Tensors call(const Tensors& inputs, const CallContext& context) override {
      return norm->run(dense->run(inputs, context), context);
    }
    std::string type() const override { return "FrozenBlock"; }
    std::vector<std::pair<std::string, LayerPointer>> parts() const override {
      return {{"dense", dense.pointer()}, {"norm", norm.pointer()}};
    }
  };
  register_layer("FrozenBlock", [](const Attributes&) { return std::make_shared<Block>(); });
  const auto made = [](const std::string& what) {
    const Tensor x = input({4}), within = input({4});
    const auto block = std::make_shared<Block>();
    const Parameter scale(tensor({1.0, 2.0, 3.0, 4.0}), "scale");
    const Model nested(within, Dense(4, {.name = "b"})(Dense(4, {.name = "a"})(within)), {.name = "nested"});
    Model model(x, Dense(3, {.name = "head"})(nested(LayerHandle(block)(x * scale))), {.seed = 2});
    if (what == "part") block->dense.set_trainable(false);
    if (what == "normalization") block->norm.set_trainable(false);
    if (what == "caught") scale.set_trainable(false);
    if (what == "one parameter") model.layer("head").parameters()[1].set_trainable(false);
    if (what == "thawed in nested") {
      model.layer("nested").set_trainable(false);
      nested.layer("b").set_trainable(true);
    }
    if (what == "thawed in model") {
      model.set_trainable(false);
      model.layer("head").set_trainable(true);
    }
    model.compile({.optimizer = adam(), .loss = mean_squared_error()});
    return model;
  };
  for (const std::string what :
       {"part", "normalization", "caught", "one parameter", "thawed in nested", "thawed in model"}) {
    CAPTURE(what);
    const Scratch file;
    Model straight = made(what), parted = made(what);
    parted.save(file.path);
    Model again = load(file.path);
    const FitOptions quiet{.epochs = 2, .verbose = 0};
    const History first = straight.fit(rows(4, 1), rows(3, 2), quiet),
                  second = again.fit(rows(4, 1), rows(3, 2), quiet);
    CHECK(state_of(straight, first) == state_of(again, second));
    CHECK(again.pointer()->trainable() == straight.pointer()->trainable());
  }
}

TEST_CASE("a model that is saved by a callback at an epoch's end goes on from there") {
  const Scratch file;
  Model straight = two_headed();
  straight.compile(options_with(adam()));
  const auto saves = on_epoch_end([&](int epoch, const Logs&) {
    if (epoch == 1) straight.save(file.path);
  });
  const History whole = straight.fit(rows(4, 1), {rows(3, 2), rows(2, 3)},
                                     {.epochs = 3, .batch_size = 7, .verbose = 0, .callbacks = {saves}});
  Model again = load(file.path);
  const History rest =
      again.fit(rows(4, 1), {rows(3, 2), rows(2, 3)}, {.epochs = 3, .batch_size = 7, .verbose = 0, .initial_epoch = 2});
  CHECK(rest["loss"][0] == whole["loss"][2]);
}

TEST_CASE("with a loss of one's own a loaded model is to be compiled, and its optimizer goes on") {
  const Scratch file;
  const Loss own = loss("own", [](const Tensor& targets, const Tensor& p) { return square(targets - p); });
  const FitOptions quiet{.verbose = 0};
  Model straight = small(own), parted = small(own);
  for (Model* each : {&straight, &parted}) each->fit(rows(4, 1), rows(3, 2), quiet);
  parted.save(file.path);
  Model again = load(file.path);
  CHECK_FALSE(again.compiled());
  CHECK_THROWS_WITH_AS(again.fit(rows(4, 1), rows(3, 2), quiet), Contains("call compile() first"), Error);
  again.save(file.path);  // which keeps what it has not been compiled with yet
  again = load(file.path);
  again.compile({.optimizer = again.optimizer(), .loss = own});
  const History first = straight.fit(rows(4, 1), rows(3, 2), quiet), second = again.fit(rows(4, 1), rows(3, 2), quiet);
  CHECK(state_of(straight, first) == state_of(again, second));
}

TEST_CASE("an optimizer or a schedule of one's own goes on from its state in the file once compile is given it again") {
  const Scratch file;
  const auto momentum = [] {
    const auto update = [](const UpdateRule::Step& s) -> Tensors {
      const Tensor v = s.slots[0] * 0.9 + s.gradient;
      return {s.parameter - v * cast(s.learning_rate / sqrt(s.number), f32), v};
    };
    return Optimizer({.name = "sgd", .slots = {{"v"}}, .update = update}, 0.1);
  };
  const auto scheduled = [] {
    return adam({.learning_rate =
                     Schedule("falling", {}, [](std::int64_t step) { return 0.1 / static_cast<double>(step + 1); })});
  };
  const FitOptions quiet{.epochs = 2, .verbose = 0};
  for (const std::function<Optimizer()>& own : {std::function<Optimizer()>(momentum), {scheduled}}) {
    REQUIRE_FALSE(own().saveable());
    CAPTURE(own().name());
    Model straight = small(mean_squared_error(), own()), parted = small(mean_squared_error(), own());
    for (Model* each : {&straight, &parted}) each->fit(rows(4, 1), rows(3, 2), quiet);
    parted.save(file.path);
    load(file.path).save(file.path);  // which keeps it
    Model again = load(file.path);
    CHECK_FALSE(again.compiled());
    CHECK(again.optimizer().iterations() == 2);
    again.compile({.optimizer = own(), .loss = mean_squared_error()});
    const History first = straight.fit(rows(4, 1), rows(3, 2), quiet),
                  second = again.fit(rows(4, 1), rows(3, 2), quiet);
    CHECK(again.optimizer().iterations() == 4);
    CHECK(state_of(straight, first) == state_of(again, second));
  }
}

TEST_CASE("what stands for an optimizer of one's own computes nothing, and another optimizer begins anew") {
  const Scratch file;
  const auto decay = [](std::int64_t) { return 0.1; };
  Model model = small(mean_squared_error(), adam({.learning_rate = Schedule("mine", {}, decay)}));
  model.fit(rows(4, 1), rows(3, 2), {.verbose = 0});
  model.save(file.path);
  Model again = load(file.path);
  again.compile({.optimizer = again.optimizer(), .loss = mean_squared_error()});
  CHECK_THROWS_WITH_AS(again.fit(rows(4, 1), rows(3, 2), {.verbose = 0}),
                       Contains("the file holds the state of optimizer \"adam\", but not its code"), Error);
  again = load(file.path);
  again.compile({.optimizer = rmsprop(), .loss = mean_squared_error()});
  CHECK(again.optimizer().iterations() == 0);
  again = load(file.path);
  again.compile({.optimizer = adam({.learning_rate = 0.25}), .loss = mean_squared_error()});
  CHECK(again.optimizer().iterations() == 1);
  CHECK(again.optimizer().learning_rate() == 0.25);
}

TEST_CASE("a model that was not compiled is not compiled after load, and a file without training is read") {
  const Scratch file;
  const Tensor x = input({4});
  Model(x, Dense(3)(x)).save(file.path);
  CHECK_FALSE(load(file.path).compiled());
  Safetensors contents = read_safetensors(file.path);
  json whole = json::parse(contents.metadata.at(0).second);
  whole.erase("training");
  contents.metadata[0].second = whole.dump();
  write_safetensors(file.path, contents);
  CHECK_FALSE(load(file.path).compiled());
}

TEST_CASE("a model that was compiled for bf16 stays so through a save where there is none") {
  const Scratch file;
  small(mean_squared_error()).save(file.path);
  Safetensors contents = read_safetensors(file.path);
  json whole = json::parse(contents.metadata.at(0).second);
  whole["training"]["compile"]["bf16"] = true;
  contents.metadata[0].second = whole.dump();
  write_safetensors(file.path, contents);
  Model model = load(file.path);
  CHECK(model.compiled() == bf16_available());
  model.save(file.path);
  const json again = json::parse(read_safetensors(file.path).metadata.at(0).second);
  CHECK(again["training"] == whole["training"]);
  model.compile({.optimizer = model.optimizer(), .loss = mean_absolute_error()});
  model.save(file.path);
  CHECK(load(file.path).compiled());
}

TEST_CASE("T7, I17: more updates than can be counted on from are refused") {
  const Scratch file;
  small(mean_squared_error()).save(file.path);
  Safetensors contents = read_safetensors(file.path);
  for (auto& [name, tensor] : contents.tensors)
    if (name == "optimizer/iterations") tensor = full({}, 9.2e18, i64);
  write_safetensors(file.path, contents);
  CHECK_THROWS_WITH_AS(load(file.path), Contains("\"optimizer/iterations\" is no number from 0 to"), Error);
}

TEST_CASE("T7, I17: training that makes no sense is refused with what is wrong") {
  const auto has = [](const std::string& text, const char* part) {
    CAPTURE(text);
    CHECK(text.find(part) != std::string::npos);
  };
  CHECK(refusal([](json&) {}).empty());
  has(refusal([](json& t) { t = 5; }), "\"steps\" is missing");
  has(refusal([](json& t) { t["steps"] = -1; }), "\"steps\" is no number from 0 to");
  has(refusal([](json& t) { t["epochs"] = 1e300; }), "\"epochs\" is no number from 0 to");
  has(refusal([](json& t) { t["optimizer"]["name"] = "magic"; }), "there is no optimizer \"magic\"");
  has(refusal([](json& t) { t["optimizer"]["name"] = "sgd"; }), "momentum");
  has(refusal([](json& t) { t["optimizer"]["attributes"].erase("epsilon"); }), "epsilon");
  has(refusal([](json& t) { t["own_optimizer"] = 5; }), "\"slots\" is missing");
  has(refusal([](json& t) { t["own_optimizer"] = {{"name", "a"}, {"slots", {1}}}; }), "\"slots\" is no list of names");
  has(refusal([](json& t) { t["own_optimizer"] = {{"name", ""}, {"slots", json::array()}}; }), "needs a name");
  has(refusal([](json& t) { t["compile"]["loss"]["name"] = "magic"; }), "there is no loss \"magic\"");
  has(refusal([](json& t) { t["compile"]["metrics"] = 1; }), "metrics are no list");
  has(refusal([](json& t) { t["compile"]["run_eagerly"] = "yes"; }), "\"run_eagerly\" is no truth");
  has(refusal([](json& t) { t["compile"]["loss_weights"] = {{"nothing", 2}}; }), "\"nothing\"");
}
