#include <twopass/graph/layers/recurrent.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/graph/layers/families.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/recurrent.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

// The first draw with the part of the second gate, the forget gate, at 1.
Initializer with_forget_bias(Initializer draw) {
  return [draw = std::move(draw)](const Shape& shape, DType dtype, Random& random) {
    const std::int64_t units = shape[0] / 4;
    const Tensor drawn = draw(shape, dtype, random);
    return concat({slice(drawn, 0, 0, units), ones({units}, dtype), slice(drawn, 0, 2 * units, 4 * units)}, 0);
  };
}

class RecurrentLayer : public Layer {
 public:
  struct Common {
    std::string type;
    std::int64_t units, gates;
    bool use_bias, return_sequences, go_backwards;
    Initializer kernel_initializer, recurrent_initializer, bias_initializer;
  };
  explicit RecurrentLayer(Common common) : common_(std::move(common)) {
    if (common_.units < 1 || common_.units > (std::int64_t{1} << 40))
      throw Error(fmt::format("{}({}): units must be from 1 to 2^40", common_.type, common_.units));
  }
  void build(const Shapes& inputs) override {
    const Shape& x = only_input(common_.type, inputs, 3, "[n, steps, features]");
    known(common_.type, x[1], "steps");
    if (x[1] == 0) throw Error(fmt::format("{} needs a step at least", common_.type));
    const std::int64_t wide = common_.gates * common_.units;
    kernel_ = add_weight("kernel", {known(common_.type, x[2], "features"), wide}, common_.kernel_initializer);
    recurrent_kernel_ = add_weight("recurrent_kernel", {common_.units, wide}, common_.recurrent_initializer);
    if (common_.use_bias) bias_ = add_weight("bias", bias_shape(wide), common_.bias_initializer);
  }
  Tensors call(const Tensors& inputs, const CallContext&) override {
    const Tensor& x = inputs[0];
    Tensors steps = unstack(x, 1), given;
    if (common_.go_backwards) std::reverse(steps.begin(), steps.end());
    // Where the batch is open only shapes are being learnt.
    const std::int64_t n = x.shape()[0];
    const Tensor none =
        n == kOpen ? symbol({kOpen, common_.units}, x.dtype(), "state") : zeros({n, common_.units}, x.dtype());
    run(steps, none, given);
    return {common_.return_sequences ? stack(given, 1) : given.back()};
  }
  std::string type() const override { return common_.type; }
  Attributes attributes() const override {
    return {{"units", common_.units},
            {"use_bias", common_.use_bias},
            {"return_sequences", common_.return_sequences},
            {"go_backwards", common_.go_backwards}};
  }

 protected:
  virtual Shape bias_shape(std::int64_t wide) const = 0;
  // Puts each step's h after those given.
  virtual void run(const Tensors& steps, const Tensor& none, Tensors& given) const = 0;
  Tensor bias() const { return common_.use_bias ? bias_.tensor() : Tensor(); }

  Common common_;
  Parameter kernel_, recurrent_kernel_, bias_;
};

class LSTMLayer : public RecurrentLayer {
 public:
  LSTMLayer(std::int64_t units, const LSTMOptions& with)
      : RecurrentLayer({"LSTM", units, 4, with.use_bias, with.return_sequences, with.go_backwards,
                        with.kernel_initializer, with.recurrent_initializer,
                        with.unit_forget_bias ? with_forget_bias(with.bias_initializer) : with.bias_initializer}) {}

 private:
  Shape bias_shape(std::int64_t wide) const override { return {wide}; }
  void run(const Tensors& steps, const Tensor& none, Tensors& given) const override {
    const Tensor kernel = kernel_, recurrent = recurrent_kernel_, offset = bias();
    LstmState state{none, none};
    for (const Tensor& x : steps) {
      state = lstm_cell(x, state, kernel, recurrent, offset);
      given.push_back(state.h);
    }
  }
};

class GRULayer : public RecurrentLayer {
 public:
  GRULayer(std::int64_t units, const GRUOptions& with)
      : RecurrentLayer({"GRU", units, 3, with.use_bias, with.return_sequences, with.go_backwards,
                        with.kernel_initializer, with.recurrent_initializer, with.bias_initializer}) {}

 private:
  Shape bias_shape(std::int64_t wide) const override { return {2, wide}; }
  void run(const Tensors& steps, const Tensor& none, Tensors& given) const override {
    const Tensor kernel = kernel_, recurrent = recurrent_kernel_, offset = bias();
    Tensor h = none;
    for (const Tensor& x : steps) given.push_back(h = gru_cell(x, h, kernel, recurrent, offset));
  }
};

template <typename L>
LayerPointer recurrent_from(const Attributes& with) {
  using namespace reading;
  return L(integer(with, "units"), {.use_bias = truth(with, "use_bias"),
                                    .return_sequences = truth(with, "return_sequences"),
                                    .go_backwards = truth(with, "go_backwards")})
      .pointer();
}

}  // namespace

LSTM::LSTM(std::int64_t units, const LSTMOptions& options)
    : LayerHandle(named<LSTMLayer>(options.name, units, options)) {}
GRU::GRU(std::int64_t units, const GRUOptions& options) : LayerHandle(named<GRULayer>(options.name, units, options)) {}

LayerMakers recurrent_layers() { return {{"LSTM", recurrent_from<LSTM>}, {"GRU", recurrent_from<GRU>}}; }

}  // namespace twopass
