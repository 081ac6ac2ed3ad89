#include <twopass/graph/layers/tensor_list.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>

namespace twopass {
namespace {

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", name);
  return list.empty() ? "none" : list;
}

}  // namespace

TensorList::TensorList(std::initializer_list<std::pair<const char*, Tensor>> named) {
  for (const auto& [name, tensor] : named) {
    names_.emplace_back(name);
    tensors_.push_back(tensor);
  }
}

Tensors TensorList::ordered(const std::vector<std::string>& expected, const std::string& what) const {
  if (names_.empty()) {
    if (tensors_.size() != expected.size())
      throw Error(fmt::format("{} {} given where {} {} expected: {}", counted(tensors_.size(), what),
                              tensors_.size() == 1 ? "was" : "were", expected.size(),
                              expected.size() == 1 ? "is" : "are", listed(expected)));
    return tensors_;
  }
  Tensors ordered;
  for (const std::string& name : expected) {
    if (std::count(names_.begin(), names_.end(), name) != 1 || names_.size() != expected.size())
      throw Error(fmt::format("{} {} {} given where {} {} expected, each once", names_.size() == 1 ? what : what + "s",
                              listed(names_), names_.size() == 1 ? "was" : "were", listed(expected),
                              expected.size() == 1 ? "is" : "are"));
    ordered.push_back(
        tensors_[static_cast<std::size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin())]);
  }
  return ordered;
}

}  // namespace twopass
