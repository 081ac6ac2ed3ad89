#include <doctest/doctest.h>

#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <twopass/core/error.h>
#include <twopass/core/files.h>
#include <twopass/core/random.h>
#include <twopass/core/safetensors.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "changed_file.h"
#include "temporary_folder.h"

using namespace twopass;
using doctest::Contains;
using nlohmann::json;

namespace {

// A file that is gone with its scope.
struct Scratch {
  TemporaryFolder folder;
  std::string path = folder.at("file");
};

Model small(const std::string& name = "small") {
  const Tensor x = input({4}, "x");
  return Model(x, Dense(2, {.activation = "softmax"})(Dense(3, {.activation = "relu"})(x)), {.seed = 5, .name = name});
}

std::vector<Model> topologies() {
  std::vector<Model> models;
  models.push_back(Sequential({Dense(3, {.activation = "gelu"}), Dropout(0.2), Reshape({3, 1}), Flatten(), Dense(2)},
                              {.input_shape = {4}}));
  {
    const Tensor x = input({4}, "image");
    Tensors votes;
    for (int k = 0; k < 3; ++k) votes.push_back(small("member_" + std::to_string(k))(x));
    models.push_back(Model(x, Average()(votes), {.name = "ensemble"}));
  }
  {
    const Tensor a = input({4}, "a"), b = input({2}, "b");
    models.push_back(Model({a, b}, Dense(2)(Concatenate()({Dense(3)(a), Activation("tanh")(b)}))));
  }
  {
    const Tensor x = input({4});
    const Tensor trunk = Dense(5, {.activation = "relu"})(x);
    models.push_back(Model(x, {Dense(3, {.name = "digit"})(trunk), Dense(2, {.name = "flags"})(trunk)}));
  }
  {
    // Plain ops, a shared layer, a caught constant and a caught parameter.
    const Tensor x = input({4});
    const Parameter scale(tensor({1.0, 2.0, 3.0, 4.0}), "scale");
    const Dense shared(4, {.activation = "silu"});
    Tensor h = x;
    for (int k = 0; k < 3; ++k) h = h + shared(h) * 0.5;
    models.push_back(Model(x, transpose(stack({sum(h * scale, -1), max(h, -1)}, 0), {1, 0})));
  }
  return models;
}

Tensors inputs_for(const Model& model) {
  Tensors inputs;
  Random random(3);
  for (const Tensor& x : model.inputs()) inputs.push_back(random.normal(x.shape().with(0, 7)));
  return inputs;
}

std::vector<std::vector<float>> bits(Model& model) {
  std::vector<std::vector<float>> bits;
  for (const Tensor& y : model.predict_all(inputs_for(model))) bits.push_back(y.values<float>());
  return bits;
}

std::string refusal(const std::function<void(json&)>& change) { return refusal_of_changed(small(), change); }

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("inputs and outputs that are named where the model is made have these names after load, compiled too") {
  const Scratch file;
  const Tensor a = input({4}, "a"), b = input({2}, "b");
  const Tensor trunk = Concatenate()({a, b});
  Model model({{"left", a}, {"right", b}}, {{"value", Dense(1)(trunk)}, {"kind", Dense(3)(trunk)}});
  model.compile({.loss = {{"value", mean_squared_error()}, {"kind", mean_absolute_error()}}});
  model.save(file.path);
  const Model again = load(file.path);
  CHECK(again.compiled());
  CHECK(again.graph().input_names == model.graph().input_names);
  CHECK(again.graph().output_names == std::vector<std::string>{"value", "kind"});
}

TEST_CASE("F23: a saved model predicts the same bits after load, in every topology") {
  const Scratch file;
  for (Model& model : topologies()) {
    model.save(file.path);
    Model again = load(file.path);
    CHECK(bits(again) == bits(model));
    CHECK(again.summary_text() == model.summary_text());
  }
}

TEST_CASE("F22: a loaded model can be trained on") {
  const Scratch file;
  small().save(file.path);
  Model again = load(file.path);
  again.compile({.loss = categorical_crossentropy()});
  const auto before = bits(again);
  again.fit(ones({4, 4}), reshape(tensor({1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0}), {4, 2}), {.verbose = 0});
  CHECK(bits(again) != before);
}

TEST_CASE("a frozen layer is frozen after load") {
  const Scratch file;
  const Model model = small();
  model.layer("dense").set_trainable(false);
  model.save(file.path);
  CHECK_FALSE(load(file.path).layer("dense").parameters()[0].trainable());
}

TEST_CASE("a layer class of the user's that goes by its name, or by being frozen, is tried with these and saved") {
  struct ByName : Layer {
    Tensors call(const Tensors& inputs, const CallContext& context) override {
      const double factor = (name() == "twice" ? 2 : 1) * (context.training && !trainable() ? 3 : 1);
      return {inputs[0] * factor};
    }
    std::string type() const override { return "ByName"; }
  };
  register_layer("ByName", [](const Attributes&) { return std::make_shared<ByName>(); });
  const auto by_name = std::make_shared<ByName>();
  by_name->set_name("twice");
  const Scratch file;
  const Tensor x = input({1});
  const Model model(x, LayerHandle(by_name)(x));
  model.layer("twice").set_trainable(false);
  model.save(file.path);
  const Model again = load(file.path);
  CHECK(again(ones({1, 1})).at<float>(0) == 2);
  CHECK(again(ones({1, 1}), {.training = true}).at<float>(0) == 6);
}

TEST_CASE("weights alone go from one model into another of its shape") {
  const Scratch file;
  Model from = small();
  from.save_weights(file.path);
  const Tensor x = input({4}, "x");
  Model to(x, Dense(2, {.activation = "softmax"})(Dense(3, {.activation = "relu"})(x)), {.seed = 6});
  REQUIRE(bits(from) != bits(to));
  to.load_weights(file.path);
  CHECK(bits(from) == bits(to));
}

TEST_CASE("I7: weights that are missing, unknown or misshapen are told in one message, and nothing is set") {
  const Scratch file;
  small().save_weights(file.path);
  const Tensor x = input({4});
  Model other(x, Dense(2, {.name = "head"})(Dense(5)(x)));
  const auto before = bits(other);
  std::string message;
  try {
    other.load_weights(file.path);
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(has(message, "\"head/kernel\" is missing"));
  CHECK(has(message, "\"dense_1/kernel\" is unknown to the model"));
  CHECK(has(message, "\"dense/kernel\" is f32 (4, 3) where the model has f32 (4, 5)"));
  CHECK(bits(other) == before);
}

TEST_CASE("a layer whose activation is a function of the user's is refused by name, as no file can hold that") {
  const Scratch file;
  const Tensor x = input({4});
  const auto own = [](const Tensor& t) { return t * 100.0; };
  CHECK_THROWS_WITH_AS(Model(x, Dense(2, {.activation = own, .name = "own"})(x)).save(file.path),
                       Contains("layer \"own\" (Dense) can't be saved"), Error);
  CHECK_THROWS_WITH_AS(Model(x, Activation(own, {.name = "own"})(x)).save(file.path),
                       Contains("layer \"own\" (Activation) can't be saved"), Error);
  CHECK_FALSE(is_file(file.path));
}

TEST_CASE("a lambda is refused by name before anything is written; its weights can be saved") {
  const Scratch file;
  const Tensor x = input({4});
  const Model model(x, Lambda([](const Tensor& t) { return t * 2.0; }, {.name = "twice"})(Dense(2)(x)));
  CHECK_THROWS_WITH_AS(model.save(file.path), Contains("layer \"twice\" (Lambda) can't be saved"), Error);
  CHECK_FALSE(is_file(file.path));
  model.save_weights(file.path);
  CHECK(is_file(file.path));
}

TEST_CASE("a layer class of the user's is saved and loaded once it is registered, and refused by name before") {
  class Shift : public Layer {
   public:
    explicit Shift(double by) : by_(by) {}
    Tensors call(const Tensors& inputs, const CallContext&) override { return {inputs[0] + by_}; }
    std::string type() const override { return "Shift"; }
    Attributes attributes() const override { return {{"by", by_}}; }

   private:
    double by_;
  };
  const Scratch file;
  const Tensor x = input({1});
  const Model model(x, layer<Shift>(2.5)(x));
  CHECK_THROWS_WITH_AS(model.save(file.path),
                       "layer \"shift\" (Shift) can't be saved, as load() could not make it again: there is no layer "
                       "class \"Shift\" here: register_layer() makes it known; save_weights() saves its weights",
                       Error);
  CHECK_FALSE(is_file(file.path));
  register_layer(
      "Shift", [](const Attributes& a) { return std::make_shared<Shift>(attribute::as_double(a.at(0).second, "by")); });
  model.save(file.path);
  CHECK(load(file.path).predict(zeros({1, 1})).at<float>(0) == 2.5f);
}

TEST_CASE("any exception of the function that makes a layer is told with the file, the layer and its own words") {
  struct Fragile : Layer {
    Tensors call(const Tensors& inputs, const CallContext&) override { return inputs; }
    std::string type() const override { return "Fragile"; }
  };
  static bool broken = false;
  register_layer("Fragile", [](const Attributes&) {
    if (broken) throw std::out_of_range("no such table");
    return std::make_shared<Fragile>();
  });
  const Scratch file;
  const Tensor x = input({1});
  Model(x, layer<Fragile>()(x)).save(file.path);
  broken = true;
  CHECK_THROWS_WITH_AS(load(file.path), (file.path + ": layer 0: no such table\n  in a Fragile layer").c_str(), Error);
  try {
    load(file.path);
  } catch (const Error& error) {
    CHECK_THROWS_AS(std::rethrow_exception(error.cause()), std::out_of_range);
  }
}

TEST_CASE("a layer class of the user's that is named as another one, or lacks attributes, can't be saved") {
  class Dense : public Layer {
   public:
    explicit Dense(Attributes attributes) : attributes_(std::move(attributes)) {}
    Tensors call(const Tensors& inputs, const CallContext&) override { return {inputs[0] * 2.0}; }
    Attributes attributes() const override { return attributes_; }

   private:
    Attributes attributes_;
  };
  const Scratch file;
  const Tensor x = input({1});
  const auto save = [&](const Attributes& attributes) { Model(x, layer<Dense>(attributes)(x)).save(file.path); };
  CHECK_THROWS_WITH_AS(
      save({{"units", std::int64_t{1}}, {"activation", std::string("linear")}, {"use_bias", true}}),
      Contains("layer \"dense\" (Dense) can't be saved, as load() could not make it again: \"Dense\" is another class"),
      Error);
  CHECK_THROWS_WITH_AS(save({}), Contains("load() could not make it again: argument \"activation\" is missing"), Error);
  CHECK_FALSE(is_file(file.path));
}

TEST_CASE("a layer class of the user's that tells nothing, or less than all, of what it was made of can't be saved") {
  class Gain : public Layer {
   public:
    explicit Gain(double by, double in_training, bool tells) : by_(by), in_training_(in_training), tells_(tells) {}
    void build(const Shapes& inputs) override {
      if (by_ > 9) bias_ = add_weight("bias", {inputs[0].back()}, zeros_initializer());
      weight_ = add_weight("weight", {inputs[0].back()}, glorot_uniform());
    }
    Tensors call(const Tensors& inputs, const CallContext& context) override {
      return {inputs[0] * weight_ * (context.training ? in_training_ : by_)};
    }
    std::string type() const override { return "Gain"; }
    Attributes attributes() const override { return tells_ ? Attributes{{"by", by_}} : Attributes{}; }

   private:
    double by_, in_training_;
    bool tells_;
    Parameter weight_, bias_;
  };
  register_layer("Gain", [](const Attributes& a) {
    return std::make_shared<Gain>(a.empty() ? 1 : attribute::as_double(attribute::named(a, "by"), "by"), 1, true);
  });
  const Scratch file;
  const Tensor x = input({3}), several = input({2, 3});
  const auto refused = [&](const LayerHandle& gain, const Tensor& on) {
    const Model model(on, gain(on));
    CHECK_THROWS_WITH_AS(
        model.save(file.path),
        "layer \"gain\" (Gain) can't be saved, as load() could not make it again: what is registered for \"Gain\" "
        "makes "
        "one that gives something else for the same inputs: attributes() must tell what the constructor was given, and "
        "the function of register_layer() read it; save_weights() saves its weights",
        Error);
    CHECK_FALSE(is_file(file.path));
  };
  refused(layer<Gain>(2, 1, false), x);
  refused(layer<Gain>(2, 1, false), several);
  refused(layer<Gain>(2, 3, true), x);  // what it does in training is not told
  CHECK_THROWS_WITH_AS(Model(x, layer<Gain>(10, 1, false)(x)).save(file.path),
                       Contains("makes one that has other weights"), Error);
  Model model(x, layer<Gain>(2, 1, true)(x));
  const auto before = bits(model);
  model.save(file.path);
  CHECK(bits(model) == before);
  Model again = load(file.path);
  CHECK(bits(again) == before);
}

TEST_CASE("a layer class of the user's that can't be tried, or never gives the same, is saved as it tells of itself") {
  struct Counts : Layer {
    mutable double calls = 0;
    Tensors call(const Tensors& inputs, const CallContext&) override { return {inputs[0] + ++calls}; }
    std::string type() const override { return "Counts"; }
  };
  struct Picky : Layer {
    Tensors call(const Tensors& inputs, const CallContext&) override {
      if (!inputs[0].symbolic()) throw Error("no values today");
      return inputs;
    }
    std::string type() const override { return "Picky"; }
  };
  register_layer("Counts", [](const Attributes&) { return std::make_shared<Counts>(); });
  register_layer("Picky", [](const Attributes&) { return std::make_shared<Picky>(); });
  const Scratch file;
  const Tensor x = input({3});
  Model(x, layer<Picky>()(layer<Counts>()(x))).save(file.path);
  CHECK(load(file.path).layers().size() == 2);
}

TEST_CASE("F11, I17: an architecture that is no graph of known layers is refused with what is wrong") {
  CHECK(has(refusal([](json& a) { a["format"] = 99; }), "has format 99"));
  CHECK(has(refusal([](json& a) { a.erase("model"); }), "\"model\" is missing"));
  CHECK(has(refusal([](json& a) { a["layers"][0]["type"] = "Evil"; }), "Evil"));
  CHECK(has(refusal([](json& a) { a["layers"][0]["attributes"]["units"] = 1e18; }), "units"));
  CHECK(has(refusal([](json& a) { a["layers"][0]["attributes"]["units"] = "many"; }), "units"));
  CHECK(has(refusal([](json& a) { a["model"]["steps"][1]["inputs"][0] = {7, 0}; }), "step 7 does not exist"));
  CHECK(has(refusal([](json& a) { a["model"]["steps"][1]["inputs"][0] = {1, 0}; }), "step 1 does not exist"));
  CHECK(has(refusal([](json& a) { a["model"]["steps"][1]["layer"] = -1; }), "layer -1 does not exist"));
  CHECK(has(refusal([](json& a) { a["model"]["outputs"] = json::array(); }), "outputs"));
  CHECK(has(refusal([](json& a) { a["model"]["steps"] = 5; }), "\"steps\" is no list"));
  CHECK(has(refusal([](json& a) { a["model"]["output_names"] = {5}; }), "output name 5 is no name, or there twice"));
  CHECK(has(refusal([](json& a) { a["model"]["output_names"] = {"a", "b"}; }), "there are 2 names for 1 outputs"));
  CHECK(has(refusal([](json& a) { a["frozen"] = 5; }), "\"layers\" is missing"));
  CHECK(has(refusal([](json& a) { a["frozen"]["layers"] = {5}; }), "frozen layers are no list of paths"));
  CHECK(has(refusal([](json& a) { a["frozen"]["layers"] = {"none"}; }), "there is no layer \"none\" to freeze"));
  CHECK(has(refusal([](json& a) { a["frozen"]["parameters"] = {"none"}; }), "no parameter \"none\" to freeze"));
}

TEST_CASE("a model inside models beyond any sense is refused without recursion to the end of the stack") {
  CHECK(has(refusal([](json& a) {
              json model = a["model"];
              for (int k = 0; k < 100; ++k) a["layers"][0] = {{"model", model}, {"name", "deep"}};
              json nested = a["layers"][1];
              for (int k = 0; k < 100; ++k) nested = {{"name", "n"}, {"model", {{"steps", json::array({nested})}}}};
              a["layers"][0] = nested;
            }),
            "step 0"));
}

TEST_CASE("I17: lists in lists where a number belongs are refused by their kind, however deep they are") {
  const Scratch file;
  small().save(file.path);
  const Safetensors contents = read_safetensors(file.path);
  const std::string whole = contents.metadata.at(0).second;
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  const auto refused = [&](const std::string& before, const std::string& part) {
    Safetensors changed = contents;
    const auto place = whole.find(before);
    REQUIRE(place != std::string::npos);
    const auto begin = place + before.size(), end = whole.find_first_of(",}]", begin);
    changed.metadata[0].second = whole.substr(0, begin) + deep + whole.substr(end);
    write_safetensors(file.path, changed);
    CHECK_THROWS_WITH_AS(load(file.path), Contains(part.c_str()), Error);
  };
  refused("\"format\":", "has format array: this program reads format 1");
  refused("\"layer\":", "layer array does not exist: there are 2");
}

TEST_CASE("I24: every prefix of a model file is refused") {
  const Scratch file;
  small().save(file.path);
  const std::string whole = read_file(file.path);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_file(file.path, whole.substr(0, length));
    CHECK_THROWS_AS(load(file.path), Error);
  }
}
