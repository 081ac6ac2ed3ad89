// A layer of your own that is made of layers: it calls them, and parts() tells which they are.
#include <fmt/core.h>
#include <twopass/twopass.h>

using namespace twopass;

// x + f(x), with f of two dense layers and dropout between them.
class Residual : public Layer {
 public:
  explicit Residual(std::int64_t width) : width_(width), wide_(4 * width, {.activation = "relu"}), back_(width) {}
  // The context says whether this is training, and from where dropout draws.
  Tensors call(const Tensors& inputs, const CallContext& context) override {
    return {inputs[0] + back_(dropout_(wide_(inputs[0], context), context), context)};
  }
  // Weights of parts are trained, frozen, saved and counted with the layer, under these names: "residual/wide/kernel".
  std::vector<std::pair<std::string, LayerPointer>> parts() const override {
    return {{"wide", wide_.pointer()}, {"dropout", dropout_.pointer()}, {"back", back_.pointer()}};
  }
  std::string type() const override { return "Residual"; }
  Attributes attributes() const override { return {{"width", width_}}; }

 private:
  std::int64_t width_;
  Dense wide_, back_;
  Dropout dropout_{0.1};
};

int main() {
  register_layer("Residual", [](const Attributes& with) {
    return layer<Residual>(attribute::as_integer(attribute::named(with, "width"), "width")).pointer();
  });
  auto digits = data::glyphs({.samples = 2000});
  Tensor image = input({784}, "image");
  Tensor x = Dense(32, {.activation = "relu"})(image);
  for (int block = 0; block < 2; ++block) x = layer<Residual>(32)(x);
  Model model(image, Dense(10, {.activation = "softmax"})(x), {.seed = 7});
  model.compile({.optimizer = "adam", .loss = "sparse_categorical_crossentropy", .metrics = {"accuracy"}});
  History history = model.fit(digits.inputs, digits.labels, {.epochs = 5, .verbose = 2});
  for (const auto& [path, parameter] : model.named_parameters()) fmt::print("{} {}\n", path, parameter.shape().text());

  model.save("residual.twopass");
  const bool same =
      load("residual.twopass").predict(digits.inputs).values<float>() == model.predict(digits.inputs).values<float>();
  return same && history["accuracy"].back() > 0.8 && model.named_parameters().size() == 12 ? 0 : 1;
}
