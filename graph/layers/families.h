// What the files of layers share: their classes by name, and how files hold their attributes. For the .cpp files of
// this folder.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <twopass/graph/layers/layers.h>
#include <twopass/ops/convolution.h>

namespace twopass {

using LayerMaker = std::function<LayerPointer(const Attributes&)>;
using LayerMakers = std::map<std::string, LayerMaker>;
LayerMakers convolutional_layers();
LayerMakers pooling_layers();
LayerMakers normalization_layers();
LayerMakers recurrent_layers();
LayerMakers attention_layers();

/// A layer with its name.
template <typename L, typename... Arguments>
LayerPointer named(const std::string& name, Arguments&&... arguments) {
  LayerPointer layer = std::make_shared<L>(std::forward<Arguments>(arguments)...);
  layer->set_name(name);
  return layer;
}

/// Refuses other than one input of `rank` axes; `axes` says which.
const Shape& only_input(const std::string& type, const Shapes& inputs, int rank, const char* axes);
/// Refuses an open size, named.
std::int64_t known(const std::string& type, std::int64_t size, const char* what);

namespace reading {

std::int64_t integer(const Attributes& with, const char* name);
double number(const Attributes& with, const char* name);
std::string text(const Attributes& with, const char* name);
bool truth(const Attributes& with, const char* name);
/// False where there is none: of layers that files held before they had it.
bool truth_or_false(const Attributes& with, const char* name);
std::vector<std::int64_t> numbers(const Attributes& with, const char* name, std::size_t count);
Extent extent(const Attributes& with, const char* name);
Extent3d extent3d(const Attributes& with, const char* name);
/// From "same" and "padding".
Padding padding(const Attributes& with);
Padding3d padding3d(const Attributes& with);

}  // namespace reading
}  // namespace twopass
