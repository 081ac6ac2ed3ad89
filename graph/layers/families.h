// What the files of layers share: their classes by name, and how files hold their attributes. For the .cpp files of
// this folder.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
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

/// Extents as lists and as files hold them; Size is std::int64_t, Extent or Extent3d.
inline std::vector<std::int64_t> list_of(std::int64_t size) { return {size}; }
inline std::vector<std::int64_t> list_of(const Extent& size) { return size.list(); }
inline std::vector<std::int64_t> list_of(const Extent3d& size) { return size.list(); }
template <typename Size>
Size size_of(const std::vector<std::int64_t>& list) {
  if constexpr (std::is_same_v<Size, std::int64_t>)
    return list[0];
  else if constexpr (std::is_same_v<Size, Extent>)
    return {list[0], list[1]};
  else
    return {list[0], list[1], list[2]};
}
inline Attribute attribute_of(std::int64_t size) { return size; }
inline Attribute attribute_of(const Extent& size) { return size.list(); }
inline Attribute attribute_of(const Extent3d& size) { return size.list(); }
Attributes attributes_of(const Padding1d& padding);
Attributes attributes_of(const Padding& padding);
Attributes attributes_of(const Padding3d& padding);

namespace reading {

std::int64_t integer(const Attributes& with, const char* name);
double number(const Attributes& with, const char* name);
std::string text(const Attributes& with, const char* name);
bool truth(const Attributes& with, const char* name);
bool has(const Attributes& with, const char* name);
/// False where there is none: of layers that files held before they had it.
bool truth_or_false(const Attributes& with, const char* name);
std::vector<std::int64_t> numbers(const Attributes& with, const char* name, std::size_t count);
template <typename Size>
Size size(const Attributes& with, const char* name) {
  if constexpr (std::is_same_v<Size, std::int64_t>)
    return integer(with, name);
  else
    return size_of<Size>(numbers(with, name, std::is_same_v<Size, Extent> ? 2 : 3));
}
/// The padding that `attributes_of` wrote.
template <typename Around>
Around around(const Attributes& with);
template <>
Padding1d around(const Attributes& with);
template <>
Padding around(const Attributes& with);
template <>
Padding3d around(const Attributes& with);

}  // namespace reading
}  // namespace twopass
