#include <twopass/graph/layers/pooling.h>

#include <fmt/format.h>

#include <twopass/core/error.h>
#include <twopass/graph/layers/families.h>
#include <twopass/ops/reduction.h>

namespace twopass {
namespace {

// Layers without parameters: one function of sequences, images or volumes.
class PoolLayer : public Layer {
 public:
  using Function = std::function<Tensor(const Tensor&)>;
  PoolLayer(std::string type, int rank, Attributes attributes, Function function)
      : type_(std::move(type)), rank_(rank), attributes_(std::move(attributes)), function_(std::move(function)) {}
  Tensors call(const Tensors& inputs, const CallContext&) override {
    Shapes shapes;
    for (const Tensor& x : inputs) shapes.push_back(x.shape());
    constexpr const char* kAxes[] = {"sequences of three axes", "images of four axes", "volumes of five axes"};
    only_input(type_, shapes, rank_, kAxes[rank_ - 3]);
    return {function_(inputs[0])};
  }
  std::string type() const override { return type_; }
  Attributes attributes() const override { return attributes_; }

 private:
  std::string type_;
  int rank_;
  Attributes attributes_;
  Function function_;
};

// Of images or volumes.
template <typename Size, typename With, typename Options>
LayerPointer windowed(const char* type, int rank, Tensor (*pool)(const Tensor&, const Options&), Size pool_size,
                      const With& with) {
  const Attributes attributes{{"pool_size", pool_size.list()},
                              {"strides", with.strides.list()},
                              {"same", with.padding.same()},
                              {"padding", with.padding.widths()},
                              {"channels_last", with.channels_last}};
  const Options options{pool_size, with.strides, with.padding, with.channels_last};
  return named<PoolLayer>(with.name, type, rank, attributes, [=](const Tensor& x) { return pool(x, options); });
}

LayerPointer pool1d(const char* type, Tensor (*pool)(const Tensor&, const Pool1dOptions&), std::int64_t pool_size,
                    const Pooling1DOptions& with) {
  if (with.padding.causal()) throw Error(fmt::format("{}: pools have no causal padding", type));
  const Attributes attributes{{"pool_size", pool_size},
                              {"strides", with.strides},
                              {"same", with.padding.same()},
                              {"padding", std::vector<std::int64_t>{with.padding.before(), with.padding.after()}},
                              {"channels_last", with.channels_last}};
  const Pool1dOptions options{pool_size, with.strides, with.padding, with.channels_last};
  return named<PoolLayer>(with.name, type, 3, attributes, [=](const Tensor& x) { return pool(x, options); });
}

LayerPointer global_pool(const char* type, int rank, Tensor (*reduce)(const Tensor&, const Axes&, KeepAxis),
                         const GlobalPoolingOptions& with) {
  const Attributes attributes{{"keepdims", with.keepdims}, {"channels_last", with.channels_last}};
  std::vector<std::int64_t> axes;
  for (int axis = with.channels_last ? 1 : 2; axis < (with.channels_last ? rank - 1 : rank); ++axis)
    axes.push_back(axis);
  const KeepAxis keep = with.keepdims ? KeepAxis::yes : KeepAxis::no;
  return named<PoolLayer>(with.name, type, rank, attributes, [=](const Tensor& x) { return reduce(x, axes, keep); });
}

using namespace reading;

template <typename L>
LayerPointer pool2d_from(const Attributes& with) {
  return L(extent(with, "pool_size"), {.strides = extent(with, "strides"),
                                       .padding = padding(with),
                                       .channels_last = truth_or_false(with, "channels_last")})
      .pointer();
}
template <typename L>
LayerPointer pool1d_from(const Attributes& with) {
  const auto widths = numbers(with, "padding", 2);
  return L(integer(with, "pool_size"),
           {.strides = integer(with, "strides"),
            .padding = truth(with, "same") ? Padding1d("same") : Padding1d(widths[0], widths[1]),
            .channels_last = truth(with, "channels_last")})
      .pointer();
}
template <typename L>
LayerPointer pool3d_from(const Attributes& with) {
  return L(extent3d(with, "pool_size"), {.strides = extent3d(with, "strides"),
                                         .padding = padding3d(with),
                                         .channels_last = truth(with, "channels_last")})
      .pointer();
}
template <typename L>
LayerPointer global_from(const Attributes& with) {
  return L({.keepdims = truth(with, "keepdims"), .channels_last = truth(with, "channels_last")}).pointer();
}

}  // namespace

MaxPooling2D::MaxPooling2D(Extent pool_size, const Pooling2DOptions& options)
    : LayerHandle(windowed("MaxPooling2D", 4, max_pool2d, pool_size, options)) {}
AveragePooling2D::AveragePooling2D(Extent pool_size, const Pooling2DOptions& options)
    : LayerHandle(windowed("AveragePooling2D", 4, average_pool2d, pool_size, options)) {}
MaxPooling1D::MaxPooling1D(std::int64_t pool_size, const Pooling1DOptions& options)
    : LayerHandle(pool1d("MaxPooling1D", max_pool1d, pool_size, options)) {}
AveragePooling1D::AveragePooling1D(std::int64_t pool_size, const Pooling1DOptions& options)
    : LayerHandle(pool1d("AveragePooling1D", average_pool1d, pool_size, options)) {}
MaxPooling3D::MaxPooling3D(Extent3d pool_size, const Pooling3DOptions& options)
    : LayerHandle(windowed("MaxPooling3D", 5, max_pool3d, pool_size, options)) {}
AveragePooling3D::AveragePooling3D(Extent3d pool_size, const Pooling3DOptions& options)
    : LayerHandle(windowed("AveragePooling3D", 5, average_pool3d, pool_size, options)) {}
GlobalMaxPooling2D::GlobalMaxPooling2D(const GlobalPoolingOptions& options)
    : LayerHandle(global_pool("GlobalMaxPooling2D", 4, max, options)) {}
GlobalAveragePooling2D::GlobalAveragePooling2D(const GlobalPoolingOptions& options)
    : LayerHandle(global_pool("GlobalAveragePooling2D", 4, mean, options)) {}
GlobalMaxPooling1D::GlobalMaxPooling1D(const GlobalPoolingOptions& options)
    : LayerHandle(global_pool("GlobalMaxPooling1D", 3, max, options)) {}
GlobalAveragePooling1D::GlobalAveragePooling1D(const GlobalPoolingOptions& options)
    : LayerHandle(global_pool("GlobalAveragePooling1D", 3, mean, options)) {}
GlobalMaxPooling3D::GlobalMaxPooling3D(const GlobalPoolingOptions& options)
    : LayerHandle(global_pool("GlobalMaxPooling3D", 5, max, options)) {}
GlobalAveragePooling3D::GlobalAveragePooling3D(const GlobalPoolingOptions& options)
    : LayerHandle(global_pool("GlobalAveragePooling3D", 5, mean, options)) {}

LayerMakers pooling_layers() {
  return {{"MaxPooling2D", pool2d_from<MaxPooling2D>},
          {"AveragePooling2D", pool2d_from<AveragePooling2D>},
          {"MaxPooling1D", pool1d_from<MaxPooling1D>},
          {"AveragePooling1D", pool1d_from<AveragePooling1D>},
          {"MaxPooling3D", pool3d_from<MaxPooling3D>},
          {"AveragePooling3D", pool3d_from<AveragePooling3D>},
          {"GlobalMaxPooling2D", global_from<GlobalMaxPooling2D>},
          {"GlobalAveragePooling2D", global_from<GlobalAveragePooling2D>},
          {"GlobalMaxPooling1D", global_from<GlobalMaxPooling1D>},
          {"GlobalAveragePooling1D", global_from<GlobalAveragePooling1D>},
          {"GlobalMaxPooling3D", global_from<GlobalMaxPooling3D>},
          {"GlobalAveragePooling3D", global_from<GlobalAveragePooling3D>}};
}

}  // namespace twopass
