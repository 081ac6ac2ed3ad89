#include <twopass/graph/layers/pooling.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include <twopass/core/error.h>
#include <twopass/graph/layers/families.h>

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

template <typename Options>
using Pool = Tensor(const Tensor&, const Options&);

template <typename Size, typename Around>
LayerPointer windowed(const char* type, Pool<PoolOptions<Size, Around>>* pool, const Size& pool_size,
                      const PoolingOptions<Size, Around>& with) {
  if constexpr (requires { with.padding.causal(); })
    if (with.padding.causal()) throw Error(fmt::format("{}: pools have no causal padding", type));
  Attributes attributes = attributes_of(with.padding);
  attributes.insert(attributes.end(), {{"pool_size", attribute_of(pool_size)},
                                       {"strides", attribute_of(with.strides)},
                                       {"channels_last", with.channels_last}});
  const PoolOptions<Size, Around> options{pool_size, with.strides, with.padding, with.channels_last};
  const int rank = static_cast<int>(list_of(pool_size).size()) + 2;
  return named<PoolLayer>(with.name, type, rank, attributes, [=](const Tensor& x) { return pool(x, options); });
}

template <typename Size>
LayerPointer adaptive(const char* type, Tensor (*pool)(const Tensor&, Size, const AdaptivePoolOptions&),
                      const Size& output_size, const AdaptivePoolingOptions& with) {
  const auto list = list_of(output_size);
  if (*std::min_element(list.begin(), list.end()) < 1)
    throw Error(fmt::format("{}: the output size must be 1 or more, not {}", type, fmt::join(list, " and ")));
  const Attributes attributes{{"output_size", attribute_of(output_size)}, {"channels_last", with.channels_last}};
  const AdaptivePoolOptions options{with.channels_last};
  return named<PoolLayer>(with.name, type, static_cast<int>(list.size()) + 2, attributes,
                          [=](const Tensor& x) { return pool(x, output_size, options); });
}

LayerPointer global(const char* type, int rank, Pool<GlobalPoolOptions>* pool, const GlobalPoolingOptions& with) {
  const Attributes attributes{{"keepdims", with.keepdims}, {"channels_last", with.channels_last}};
  const GlobalPoolOptions options{with.keepdims, with.channels_last};
  return named<PoolLayer>(with.name, type, rank, attributes, [=](const Tensor& x) { return pool(x, options); });
}

using namespace reading;

template <typename L, typename Size, typename Around>
LayerPointer windowed_from(const Attributes& with) {
  return L(size<Size>(with, "pool_size"), {.strides = size<Size>(with, "strides"),
                                           .padding = around<Around>(with),
                                           .channels_last = truth_or_false(with, "channels_last")})
      .pointer();
}
template <typename L, typename Size>
LayerPointer adaptive_from(const Attributes& with) {
  return L(size<Size>(with, "output_size"), {.channels_last = truth(with, "channels_last")}).pointer();
}
template <typename L>
LayerPointer global_from(const Attributes& with) {
  return L({.keepdims = truth(with, "keepdims"), .channels_last = truth(with, "channels_last")}).pointer();
}

}  // namespace

MaxPooling1D::MaxPooling1D(std::int64_t pool_size, const Pooling1DOptions& options)
    : LayerHandle(windowed("MaxPooling1D", max_pool1d, pool_size, options)) {}
MaxPooling2D::MaxPooling2D(Extent pool_size, const Pooling2DOptions& options)
    : LayerHandle(windowed("MaxPooling2D", max_pool2d, pool_size, options)) {}
MaxPooling3D::MaxPooling3D(Extent3d pool_size, const Pooling3DOptions& options)
    : LayerHandle(windowed("MaxPooling3D", max_pool3d, pool_size, options)) {}
AveragePooling1D::AveragePooling1D(std::int64_t pool_size, const Pooling1DOptions& options)
    : LayerHandle(windowed("AveragePooling1D", average_pool1d, pool_size, options)) {}
AveragePooling2D::AveragePooling2D(Extent pool_size, const Pooling2DOptions& options)
    : LayerHandle(windowed("AveragePooling2D", average_pool2d, pool_size, options)) {}
AveragePooling3D::AveragePooling3D(Extent3d pool_size, const Pooling3DOptions& options)
    : LayerHandle(windowed("AveragePooling3D", average_pool3d, pool_size, options)) {}
AdaptiveMaxPooling1D::AdaptiveMaxPooling1D(std::int64_t output_size, const AdaptivePoolingOptions& options)
    : LayerHandle(adaptive("AdaptiveMaxPooling1D", adaptive_max_pool1d, output_size, options)) {}
AdaptiveMaxPooling2D::AdaptiveMaxPooling2D(Extent output_size, const AdaptivePoolingOptions& options)
    : LayerHandle(adaptive("AdaptiveMaxPooling2D", adaptive_max_pool2d, output_size, options)) {}
AdaptiveMaxPooling3D::AdaptiveMaxPooling3D(Extent3d output_size, const AdaptivePoolingOptions& options)
    : LayerHandle(adaptive("AdaptiveMaxPooling3D", adaptive_max_pool3d, output_size, options)) {}
AdaptiveAveragePooling1D::AdaptiveAveragePooling1D(std::int64_t output_size, const AdaptivePoolingOptions& options)
    : LayerHandle(adaptive("AdaptiveAveragePooling1D", adaptive_average_pool1d, output_size, options)) {}
AdaptiveAveragePooling2D::AdaptiveAveragePooling2D(Extent output_size, const AdaptivePoolingOptions& options)
    : LayerHandle(adaptive("AdaptiveAveragePooling2D", adaptive_average_pool2d, output_size, options)) {}
AdaptiveAveragePooling3D::AdaptiveAveragePooling3D(Extent3d output_size, const AdaptivePoolingOptions& options)
    : LayerHandle(adaptive("AdaptiveAveragePooling3D", adaptive_average_pool3d, output_size, options)) {}
GlobalMaxPooling1D::GlobalMaxPooling1D(const GlobalPoolingOptions& options)
    : LayerHandle(global("GlobalMaxPooling1D", 3, global_max_pool, options)) {}
GlobalMaxPooling2D::GlobalMaxPooling2D(const GlobalPoolingOptions& options)
    : LayerHandle(global("GlobalMaxPooling2D", 4, global_max_pool, options)) {}
GlobalMaxPooling3D::GlobalMaxPooling3D(const GlobalPoolingOptions& options)
    : LayerHandle(global("GlobalMaxPooling3D", 5, global_max_pool, options)) {}
GlobalAveragePooling1D::GlobalAveragePooling1D(const GlobalPoolingOptions& options)
    : LayerHandle(global("GlobalAveragePooling1D", 3, global_average_pool, options)) {}
GlobalAveragePooling2D::GlobalAveragePooling2D(const GlobalPoolingOptions& options)
    : LayerHandle(global("GlobalAveragePooling2D", 4, global_average_pool, options)) {}
GlobalAveragePooling3D::GlobalAveragePooling3D(const GlobalPoolingOptions& options)
    : LayerHandle(global("GlobalAveragePooling3D", 5, global_average_pool, options)) {}

LayerMakers pooling_layers() {
  return {{"MaxPooling1D", windowed_from<MaxPooling1D, std::int64_t, Padding1d>},
          {"MaxPooling2D", windowed_from<MaxPooling2D, Extent, Padding>},
          {"MaxPooling3D", windowed_from<MaxPooling3D, Extent3d, Padding3d>},
          {"AveragePooling1D", windowed_from<AveragePooling1D, std::int64_t, Padding1d>},
          {"AveragePooling2D", windowed_from<AveragePooling2D, Extent, Padding>},
          {"AveragePooling3D", windowed_from<AveragePooling3D, Extent3d, Padding3d>},
          {"AdaptiveMaxPooling1D", adaptive_from<AdaptiveMaxPooling1D, std::int64_t>},
          {"AdaptiveMaxPooling2D", adaptive_from<AdaptiveMaxPooling2D, Extent>},
          {"AdaptiveMaxPooling3D", adaptive_from<AdaptiveMaxPooling3D, Extent3d>},
          {"AdaptiveAveragePooling1D", adaptive_from<AdaptiveAveragePooling1D, std::int64_t>},
          {"AdaptiveAveragePooling2D", adaptive_from<AdaptiveAveragePooling2D, Extent>},
          {"AdaptiveAveragePooling3D", adaptive_from<AdaptiveAveragePooling3D, Extent3d>},
          {"GlobalMaxPooling1D", global_from<GlobalMaxPooling1D>},
          {"GlobalMaxPooling2D", global_from<GlobalMaxPooling2D>},
          {"GlobalMaxPooling3D", global_from<GlobalMaxPooling3D>},
          {"GlobalAveragePooling1D", global_from<GlobalAveragePooling1D>},
          {"GlobalAveragePooling2D", global_from<GlobalAveragePooling2D>},
          {"GlobalAveragePooling3D", global_from<GlobalAveragePooling3D>}};
}

}  // namespace twopass
