// Layers of pooling. Channels come first, [n, channels, …]; `channels_last` makes it [n, …, channels], as in Keras, for
// pools of windows at the cost of a transpose of each input and output.
#pragma once
#include <cstdint>
#include <string>

#include <twopass/graph/layers/layers.h>
#include <twopass/ops/convolution.h>

namespace twopass {

template <typename Size, typename Around>
struct PoolingOptions {
  /// 0: as the pool.
  Size strides = 0;
  /// "valid", "same", or a number of places on every side, half the pool at most.
  Around padding = "valid";
  bool channels_last = false;
  std::string name = {};
};
using Pooling1DOptions = PoolingOptions<std::int64_t, Padding1d>;
using Pooling2DOptions = PoolingOptions<Extent, Padding>;
using Pooling3DOptions = PoolingOptions<Extent3d, Padding3d>;

/// The largest of each window: of sequences [n, c, t], images [n, c, h, w] or volumes [n, c, d, h, w].
struct MaxPooling1D : LayerHandle {
  explicit MaxPooling1D(std::int64_t pool_size = 2, const Pooling1DOptions& options = {});
};
struct MaxPooling2D : LayerHandle {
  explicit MaxPooling2D(Extent pool_size = 2, const Pooling2DOptions& options = {});
};
struct MaxPooling3D : LayerHandle {
  explicit MaxPooling3D(Extent3d pool_size = 2, const Pooling3DOptions& options = {});
};
/// The mean of each window, padding left out.
struct AveragePooling1D : LayerHandle {
  explicit AveragePooling1D(std::int64_t pool_size = 2, const Pooling1DOptions& options = {});
};
struct AveragePooling2D : LayerHandle {
  explicit AveragePooling2D(Extent pool_size = 2, const Pooling2DOptions& options = {});
};
struct AveragePooling3D : LayerHandle {
  explicit AveragePooling3D(Extent3d pool_size = 2, const Pooling3DOptions& options = {});
};

struct AdaptivePoolingOptions {
  bool channels_last = false;
  std::string name = {};
};
/// Pools to a size: window k of m over n places is those from ⌊k n / m⌋ to ⌈(k + 1) n / m⌉.
struct AdaptiveMaxPooling1D : LayerHandle {
  explicit AdaptiveMaxPooling1D(std::int64_t output_size, const AdaptivePoolingOptions& options = {});
};
struct AdaptiveMaxPooling2D : LayerHandle {
  explicit AdaptiveMaxPooling2D(Extent output_size, const AdaptivePoolingOptions& options = {});
};
struct AdaptiveMaxPooling3D : LayerHandle {
  explicit AdaptiveMaxPooling3D(Extent3d output_size, const AdaptivePoolingOptions& options = {});
};
struct AdaptiveAveragePooling1D : LayerHandle {
  explicit AdaptiveAveragePooling1D(std::int64_t output_size, const AdaptivePoolingOptions& options = {});
};
struct AdaptiveAveragePooling2D : LayerHandle {
  explicit AdaptiveAveragePooling2D(Extent output_size, const AdaptivePoolingOptions& options = {});
};
struct AdaptiveAveragePooling3D : LayerHandle {
  explicit AdaptiveAveragePooling3D(Extent3d output_size, const AdaptivePoolingOptions& options = {});
};

struct GlobalPoolingOptions {
  /// Whether the axes that were pooled stay, with size 1.
  bool keepdims = false;
  bool channels_last = false;
  std::string name = {};
};
/// The largest, the mean of each channel: images give [n, c], sequences and volumes too.
struct GlobalMaxPooling1D : LayerHandle {
  explicit GlobalMaxPooling1D(const GlobalPoolingOptions& options = {});
};
struct GlobalMaxPooling2D : LayerHandle {
  explicit GlobalMaxPooling2D(const GlobalPoolingOptions& options = {});
};
struct GlobalMaxPooling3D : LayerHandle {
  explicit GlobalMaxPooling3D(const GlobalPoolingOptions& options = {});
};
struct GlobalAveragePooling1D : LayerHandle {
  explicit GlobalAveragePooling1D(const GlobalPoolingOptions& options = {});
};
struct GlobalAveragePooling2D : LayerHandle {
  explicit GlobalAveragePooling2D(const GlobalPoolingOptions& options = {});
};
struct GlobalAveragePooling3D : LayerHandle {
  explicit GlobalAveragePooling3D(const GlobalPoolingOptions& options = {});
};

}  // namespace twopass
