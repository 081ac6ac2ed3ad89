// Layers of pooling. Channels come first, [n, channels, …]; `channels_last` makes it [n, …, channels], as in Keras, for
// pools of windows at the cost of a transpose of each input and output.
#pragma once
#include <cstdint>
#include <string>

#include <twopass/graph/layers/layers.h>
#include <twopass/ops/convolution.h>

namespace twopass {

struct Pooling2DOptions {
  /// 0: as the pool.
  Extent strides = 0;
  Padding padding = "valid";
  bool channels_last = false;
  std::string name = {};
};
/// The largest of each window of rows and columns.
struct MaxPooling2D : LayerHandle {
  explicit MaxPooling2D(Extent pool_size = 2, const Pooling2DOptions& options = {});
};
/// The mean of each window, padding left out.
struct AveragePooling2D : LayerHandle {
  explicit AveragePooling2D(Extent pool_size = 2, const Pooling2DOptions& options = {});
};

struct Pooling1DOptions {
  /// 0: as the pool.
  std::int64_t strides = 0;
  Padding1d padding = "valid";
  bool channels_last = false;
  std::string name = {};
};
/// The same of sequences [n, c, t].
struct MaxPooling1D : LayerHandle {
  explicit MaxPooling1D(std::int64_t pool_size = 2, const Pooling1DOptions& options = {});
};
struct AveragePooling1D : LayerHandle {
  explicit AveragePooling1D(std::int64_t pool_size = 2, const Pooling1DOptions& options = {});
};

struct Pooling3DOptions {
  /// 0: as the pool.
  Extent3d strides = 0;
  Padding3d padding = "valid";
  bool channels_last = false;
  std::string name = {};
};
/// The same of volumes [n, c, d, h, w].
struct MaxPooling3D : LayerHandle {
  explicit MaxPooling3D(Extent3d pool_size = 2, const Pooling3DOptions& options = {});
};
struct AveragePooling3D : LayerHandle {
  explicit AveragePooling3D(Extent3d pool_size = 2, const Pooling3DOptions& options = {});
};

struct GlobalPoolingOptions {
  /// Whether the axes that were pooled stay, with size 1.
  bool keepdims = false;
  bool channels_last = false;
  std::string name = {};
};
/// The largest, the mean of each channel: images give [n, c], sequences and volumes too.
struct GlobalMaxPooling2D : LayerHandle {
  explicit GlobalMaxPooling2D(const GlobalPoolingOptions& options = {});
};
struct GlobalAveragePooling2D : LayerHandle {
  explicit GlobalAveragePooling2D(const GlobalPoolingOptions& options = {});
};
struct GlobalMaxPooling1D : LayerHandle {
  explicit GlobalMaxPooling1D(const GlobalPoolingOptions& options = {});
};
struct GlobalAveragePooling1D : LayerHandle {
  explicit GlobalAveragePooling1D(const GlobalPoolingOptions& options = {});
};
struct GlobalMaxPooling3D : LayerHandle {
  explicit GlobalMaxPooling3D(const GlobalPoolingOptions& options = {});
};
struct GlobalAveragePooling3D : LayerHandle {
  explicit GlobalAveragePooling3D(const GlobalPoolingOptions& options = {});
};

}  // namespace twopass
