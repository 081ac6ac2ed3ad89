// Layers beyond dense ones. Numbers are NumPy's, from Keras's formulas.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/custom.h>
#include <twopass/graph/dot/dot.h>
#include <twopass/graph/layers/attention.h>
#include <twopass/graph/layers/convolutional.h>
#include <twopass/graph/layers/normalization.h>
#include <twopass/graph/layers/pooling.h>
#include <twopass/graph/layers/recurrent.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "temporary_folder.h"
#include "with_sines.h"

using namespace twopass;
using doctest::Contains;

namespace {

using Values = std::vector<double>;

void check_values(const Tensor& found, const Values& expected, double epsilon = 1e-12) {
  const Values values = found.values<double>();
  REQUIRE(values.size() >= expected.size());
  for (std::size_t k = 0; k < expected.size(); ++k) CHECK(values[k] == doctest::Approx(expected[k]).epsilon(epsilon));
}

Tensor pictures(std::int64_t rows) { return Random(6).normal({rows, 2, 6, 5}); }

std::vector<std::vector<float>> bits(const Model& model) {
  std::vector<std::vector<float>> all;
  for (const Parameter& each : model.parameters()) all.push_back(each.value().values<float>());
  return all;
}

// Every layer of this file in a model, small, without kinks.
std::vector<Model> models() {
  std::vector<Model> all;
  {
    const Tensor x = input({2, 6, 5}, "image");
    Tensor y = DepthwiseConv2D({3, 2}, {.padding = "same", .depth_multiplier = 2, .activation = "tanh"})(x);
    y = BatchNormalization({.axis = 1, .momentum = 0.8})(y);
    y = AveragePooling2D(2, {.padding = "same"})(y);
    y = Conv2DTranspose(3, {2, 3}, {.strides = 2, .output_padding = {1, 0}, .activation = "sigmoid"})(y);
    y = SeparableConv2D(4, {2, 3}, {.padding = "same", .depth_multiplier = 2, .activation = "tanh"})(y);
    y = AdaptiveAveragePooling2D({5, 4})(AdaptiveMaxPooling2D({6, 5})(y));
    y = Concatenate()({GlobalAveragePooling2D()(y), GlobalMaxPooling2D()(y)});
    all.push_back(Model(x, Dense(2)(LayerNormalization({.epsilon = 0.01})(y)), {.name = "images"}));
  }
  {
    const Tensor x = input({7, 3}, "sequence");
    Tensor y =
        Conv1D(4, 3, {.padding = "causal", .dilation_rate = 2, .activation = "softmax", .channels_last = true})(x);
    y = SeparableConv1D(3, 2, {.padding = "causal", .channels_last = true})(y);
    y = DepthwiseConv1D(2, {.padding = "same", .depth_multiplier = 2, .channels_last = true})(y);
    y = Conv1DTranspose(3, 3, {.strides = 2, .padding = 1, .dilation_rate = 2, .channels_last = true})(y);
    y = AdaptiveAveragePooling1D(6, {.channels_last = true})(AdaptiveMaxPooling1D(9, {.channels_last = true})(y));
    y = AveragePooling1D(2, {.channels_last = true})(y);
    y = GRU(3, {.return_sequences = true})(y);
    y = MaxPooling1D(2, {.strides = 1, .channels_last = true})(y);
    y = LSTM(2, {.go_backwards = true})(LayerNormalization({.axis = 1, .scale = false})(y));
    all.push_back(Model(x, Dense(2)(y), {.name = "sequences"}));
  }
  {
    const Tensor x = input({2, 4, 5, 4}, "volume");
    Tensor y = Conv3D(4, {2, 3, 2}, {.padding = "same", .groups = 2, .activation = "tanh"})(x);
    y = AveragePooling3D(2, {.strides = {2, 1, 1}, .padding = {1, 0, {1, 1, 0, 1}}})(y);
    y = Conv3D(3, 2, {.strides = {1, 2, 1}, .padding = {0, 1, "valid"}, .use_bias = false})(y);
    y = MaxPooling3D({2, 1, 2}, {.strides = 1})(y);
    y = Conv3DTranspose(2, {2, 1, 2}, {.strides = {3, 1, 2}, .padding = "same", .activation = "tanh"})(y);
    y = AdaptiveAveragePooling3D({2, 3, 2})(AdaptiveMaxPooling3D({3, 2, 4})(y));
    y = Concatenate()({GlobalAveragePooling3D()(y), GlobalMaxPooling3D()(y)});
    all.push_back(Model(x, Dense(2)(y), {.name = "volumes"}));
  }
  {
    const Tensor x = input({4, 6}, "features");
    Tensor y = MultiHeadAttention(2, 3, {.value_dim = 2, .causal = true})(x);
    y = MultiHeadAttention(1, 2, {.use_bias = false})({y, x});
    const Tensor both = Concatenate()(
        {GlobalAveragePooling1D({.channels_last = true})(y), GlobalMaxPooling1D({.channels_last = true})(y)});
    all.push_back(Model(x, Dense(2)(both), {.name = "attention"}));
  }
  return all;
}

Tensor inputs_for(const Model& model, std::int64_t rows) {
  return Random(3).normal(model.inputs()[0].shape().with(0, rows));
}

}  // namespace

TEST_CASE("models of every layer have right gradients, and come back from their files bit for bit") {
  const TemporaryFolder folder;
  for (Model& model : models()) {
    INFO(model.name());
    const Tensor x = inputs_for(model, 3), y = Random(4).normal({3, 2});
    model.compile({.optimizer = sgd(), .loss = mean_squared_error()});
    const GradcheckReport report = model.check_gradients(x, y);
    INFO(report.text());
    CHECK(report.ok());
    model.fit(x, y, {.epochs = 2, .verbose = 0});
    model.save(folder.at("model"));
    Model loaded = load(folder.at("model"));
    CHECK(bits(loaded) == bits(model));
    CHECK(loaded.predict(x).values<float>() == model.predict(x).values<float>());
    CHECK(loaded.summary_text().substr(0, 400) == model.summary_text().substr(0, 400));
    for (const auto& [name, layer] : model.layers()) {
      CHECK(model.summary_text().find(name.substr(0, 12)) != std::string::npos);
      CHECK(to_dot(model).find(layer->type()) != std::string::npos);
    }
  }
}

TEST_CASE("layers without a name are called as Keras calls them") {
  const Tensor image = input({2, 6, 5});
  const Tensor x = GlobalMaxPooling2D()(Conv2DTranspose(3, 2)(DepthwiseConv2D(2)(Conv2D(4, 2)(image))));
  const Tensor y = LSTM(2)(MultiHeadAttention(1, 1)(Reshape({3, 1})(x)));
  std::vector<std::string> names;
  for (const auto& [name, layer] : Model(image, y).layers()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"conv2d", "depthwise_conv2d", "conv2d_transpose", "global_max_pooling2d",
                                          "reshape", "multi_head_attention", "lstm"});
}

TEST_CASE("an LSTM and a GRU run their cells along the steps, and give the last h or all") {
  const Tensor x = sines({2, 3, 2}, 0.1);
  check_values(with_sines(LSTM(3), {x}), {0.121093029312731, 0.209096484290106, 0.264422090075863, 0.1167695686114,
                                          0.209964374250294, 0.2731267719695});
  check_values(with_sines(LSTM(3, {.return_sequences = true}), {x}),
               {-0.080527942487302, 0.146784996204491, 0.094803976375519, -0.008481931101609, 0.130458736927008,
                0.096583720048243});
  check_values(with_sines(LSTM(3, {.go_backwards = true}), {x}),
               {0.015019814132733, 0.148252454641612, 0.07903686556957});
  check_values(with_sines(GRU(3), {x}), {0.146517150879021, 0.367964914116693, 0.25896267768652, 0.142105560486492,
                                         0.412492572681467, 0.330164369485933});
  const Tensor all = with_sines(GRU(3, {.return_sequences = true}), {x});
  CHECK(all.shape() == Shape({2, 3, 3}));
  check_values(all, {0.228278797140125, 0.107631678043354, -0.483392476651439, 0.275485262320126, 0.359369291628903,
                     0.12989448792386});
}

TEST_CASE("recurrent layers begin with orthogonal recurrent weights, and an LSTM with a forget bias of 1") {
  const LSTM lstm(3);
  CHECK(lstm(input({4, 2})).shape() == Shape({kOpen, 3}));
  lstm(ones({1, 4, 2}));
  const auto parameters = lstm.parameters();
  CHECK(parameters[0].shape() == Shape({2, 12}));
  const Tensor recurrent = parameters[1].value();
  check_values(matmul(recurrent, recurrent, {.transpose_b = true}) + 1.0, {2, 1, 1, 1, 2, 1, 1, 1, 2}, 1e-6);
  CHECK(parameters[2].value().values<double>() == Values{0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0});
  const GRU gru(2, {.use_bias = false});
  gru(ones({1, 4, 5}));
  CHECK(gru.parameters().size() == 2);
  CHECK_THROWS_WITH_AS(LSTM(2)(input({kOpen, 3})), Contains("LSTM needs to know the number of steps"), Error);
  CHECK_THROWS_WITH_AS(GRU(2)(ones({2, 3})), Contains("GRU needs [n, steps, features]"), Error);
  CHECK_THROWS_WITH_AS(GRU(0), Contains("units must be from 1"), Error);
}

TEST_CASE("attention of several heads, of itself and of other values") {
  const Tensor x = sines({1, 3, 4}, 0.1);
  check_values(with_sines(MultiHeadAttention(2, 3, {.value_dim = 2, .causal = true}), {x}),
               {0.947503090077228, 0.624667795486348, -0.272484189471545, -0.919115467254522, 0.617399765746049,
                0.485329859634128, -0.092950081212089, -0.585772146053174, 0.843506701004546, 0.539849479379033,
                -0.260142863944133, -0.820961057867347});
  check_values(with_sines(MultiHeadAttention(2, 3, {.value_dim = 2}), {x, sines({1, 2, 3}, 0.5)}),
               {0.701979583853487, 0.408772429603428, -0.260258211273378, -0.690008652947677, 0.533818508026066,
                0.402406470886979});
  CHECK_THROWS_WITH_AS(MultiHeadAttention(2, 3)(ones({2, 3})), Contains("[n, steps, features]"), Error);
  CHECK_THROWS_WITH_AS(MultiHeadAttention(0, 3), Contains("must be from 1"), Error);
}

TEST_CASE("an embedding learns rows, and refuses an index that its table lacks") {
  const Tensor tokens = input({2}, "tokens", i64);
  Model model(tokens, Dense(2, {.activation = "softmax"})(GRU(6)(Embedding(5, 3)(tokens))), {.seed = 2});
  CHECK(model.layer("embedding").output().shape() == Shape({kOpen, 2, 3}));
  CHECK(model.parameters()[0].shape() == Shape({5, 3}));
  CHECK(max(abs(model.parameters()[0].value())).item<double>() <= 0.05);
  // whether the first of two tokens is the larger
  std::vector<std::int64_t> pairs, larger;
  for (std::int64_t a = 0; a < 5; ++a)
    for (std::int64_t b = 0; b < 5; ++b) {
      pairs.insert(pairs.end(), {a, b});
      larger.push_back(a > b);
    }
  const Tensor x = from_values(pairs, {25, 2}), y = from_values(larger, {25});
  model.compile(
      {.optimizer = adam({.learning_rate = 0.05}), .loss = sparse_categorical_crossentropy(), .metrics = {accuracy()}});
  model.fit(x, y, {.epochs = 120, .batch_size = 25, .verbose = 0});
  CHECK(model.evaluate(x, y)["accuracy"] == 1);
  CHECK_THROWS_WITH_AS(model.predict(from_values(std::vector<std::int64_t>{0, 5}, {1, 2})), Contains("5"), Error);
  CHECK_THROWS_WITH_AS(Embedding(0, 3), Contains("both must be at least 1"), Error);
}

TEST_CASE("layer normalisation of any axis") {
  const LayerHandle layer = LayerNormalization({.axis = 1});
  const Tensor x = sines({2, 3, 2, 2}, 0.7);
  check_values(with_sines(layer, {x}), {0.527388974289774, 0.665997751175065, 0.533171140884871, 0.279792454590552});
  CHECK_THROWS_WITH_AS(LayerNormalization({.axis = 0})(x), Contains("axis 0 is the batch"), Error);
  CHECK_THROWS_WITH_AS(LayerNormalization({.epsilon = 0}), Contains("epsilon must be positive"), Error);
}

TEST_CASE("batch normalisation moves its moments in training, and uses them afterwards") {
  const BatchNormalization layer({.axis = 1, .momentum = 0.9});
  const Tensor x = cast(sines({2, 3, 2, 2}, 0.7), f32), y = cast(sines({2, 3, 2, 2}, 1.9), f32);
  layer(x);
  layer.parameters()[0].set(cast(sines({3}, 0.2), f32));
  layer.parameters()[1].set(cast(sines({3}, 0.4), f32));
  CHECK(layer.parameters()[2].value().values<double>() == Values{0, 0, 0});
  check_values(layer(x, {.training = true}), {0.476170015957249, 0.61576152827388, 0.389052537110317, 0.00447824342026},
               1e-5);
  check_values(layer(y, {.training = true}),
               {0.630112565324431, 0.448102612063885, 0.209469043408356, 0.13361046186465}, 1e-5);
  check_values(layer.parameters()[2].value(), {0.039674095424962, 0.019029075847349, -0.064550563502062}, 1e-5);
  check_values(layer.parameters()[3].value(), {0.891379590603621, 0.89667724841113, 0.875930043768391}, 1e-5);
  check_values(layer(x), {0.516558760721146, 0.589629707498179, 0.470956011997181, 0.269645722569983}, 1e-5);
}

TEST_CASE("moving moments are no parameters of optimizers, whatever is frozen or thawed") {
  const Tensor x = input({3}, "x");
  Model model(x, Dense(1)(BatchNormalization()(x)));
  model.compile({.optimizer = sgd(), .loss = mean_squared_error()});
  CHECK(model.summary_text().find("Trainable params: 10 ") != std::string::npos);
  CHECK(model.summary_text().find("Non-trainable params: 6 ") != std::string::npos);
  model.set_trainable(false);
  model.set_trainable(true);
  CHECK(model.summary_text().find("Non-trainable params: 6 ") != std::string::npos);
}

TEST_CASE("a frozen batch normalisation keeps its moments and uses them, in steps that were planned before too") {
  const Tensor x = input({2, 6, 5}, "image");
  const BatchNormalization normalization({.axis = 1, .center = false, .scale = false});
  Model model(x, Dense(1)(Flatten()(normalization(x))), {.seed = 1});
  model.compile({.optimizer = sgd({.learning_rate = 0.001}), .loss = mean_squared_error()});
  const Tensor images = pictures(8), targets = ones({8, 1});
  model.fit(images, targets, {.verbose = 0});
  const auto moments = [&] { return normalization.parameters()[0].value().values<float>(); };
  const auto before = moments();
  normalization.set_trainable(false);
  model.fit(images, targets, {.verbose = 0});
  CHECK(moments() == before);
  CHECK(normalization(images, {.training = true}).values<float>() == normalization(images).values<float>());
  normalization.set_trainable(true);
  model.fit(images, targets, {.verbose = 0});
  CHECK(moments() != before);
}

TEST_CASE("batch normalisation learns the same planned and eagerly, a layer that is called twice too") {
  const auto trained = [](bool eagerly) {
    const Tensor x = input({2, 6, 5}, "image");
    const BatchNormalization shared({.axis = 1, .momentum = 0.7});
    Model model(x, Dense(2)(GlobalAveragePooling2D()(shared(shared(x) * 2.0 + 1.0) * shared(x))), {.seed = 9});
    model.compile({.optimizer = adam(), .loss = mean_squared_error(), .run_eagerly = eagerly});
    model.fit(pictures(20), Random(1).normal({20, 2}), {.epochs = 3, .batch_size = 8, .verbose = 0});
    return model;
  };
  const auto planned = bits(trained(false)), eager = bits(trained(true));
  REQUIRE(planned.size() == 6);
  for (std::size_t k = 0; k < planned.size(); ++k)
    for (std::size_t at = 0; at < planned[k].size(); ++at)
      CHECK(planned[k][at] == doctest::Approx(eager[k][at]).epsilon(1e-5));
}

TEST_CASE("F21: evaluating and predicting between epochs changes no bit of training, nor of moving moments") {
  const auto trained = [](bool looks) {
    const Tensor x = input({2, 6, 5}, "image");
    Tensor y = Dropout(0.3)(Flatten()(BatchNormalization({.axis = 1})(x)));
    Model model(x, Dense(2)(y), {.seed = 3});
    model.compile({.optimizer = adam(), .loss = mean_squared_error()});
    const Tensor images = pictures(12), targets = Random(2).normal({12, 2});
    for (int epoch = 0; epoch < 3; ++epoch) {
      model.fit(images, targets, {.epochs = 1, .batch_size = 4, .verbose = 0});
      if (!looks) continue;
      const auto before = bits(model);
      model.evaluate(images, targets);
      model.predict(images);
      model.check_gradients(slice(images, 0, 0, 2), slice(targets, 0, 0, 2), {.elements = 2});
      CHECK(bits(model) == before);
    }
    return bits(model);
  };
  CHECK(trained(true) == trained(false));
}

TEST_CASE("N29: a batch of one row is refused in training by batch normalisation, and changes nothing") {
  const Tensor x = input({3}, "x");
  Model model(x, Dense(1)(BatchNormalization()(x)));
  model.compile({.optimizer = sgd(), .loss = mean_squared_error()});
  const auto before = bits(model);
  CHECK_THROWS_WITH_AS(model.fit(ones({1, 3}), ones({1, 1}), {.verbose = 0}),
                       Contains("one element a channel has no variance"), Error);
  CHECK(bits(model) == before);
  CHECK(model.predict(ones({1, 3})).shape() == Shape({1, 1}));
}

TEST_CASE("a step whose loss is not finite leaves moving moments as they were") {
  for (const bool eagerly : {false, true}) {
    const Tensor x = input({3}, "x");
    Model model(x, Dense(1)(BatchNormalization()(x)), {.seed = 1});
    model.compile({.optimizer = sgd(), .loss = mean_squared_error(), .run_eagerly = eagerly});
    const auto before = bits(model);
    CHECK_THROWS_WITH_AS(model.fit(Random(1).normal({4, 3}), full({4, 1}, 1e30), {.verbose = 0}),
                         Contains("the loss is"), Error);
    CHECK(bits(model) == before);
  }
}

TEST_CASE("moving moments move once where a checkpoint computes the layer twice") {
  const BatchNormalization layer({.momentum = 0.5});
  const Tensor x = variable(tensor({{1.0, 2.0}, {3.0, 6.0}}));
  const Tensor y = checkpoint([&](const Tensors& in) -> Tensor { return layer(in[0], {.training = true}); }, {x});
  backward(sum(square(y)));
  CHECK(layer.parameters()[2].value().values<double>() == Values{1, 2});
  CHECK(layer.parameters()[3].value().values<double>() == Values{1, 2.5});
}
