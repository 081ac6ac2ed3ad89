// One parameter type for "a tensor or several".
#pragma once
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// A tensor, several in order, or several by name: what models take as inputs, outputs and data.
class TensorList {
 public:
  TensorList() = default;
  TensorList(const Tensor& one) : tensors_{one} {}
  TensorList(const Tensors& several) : tensors_(several) {}
  TensorList(std::initializer_list<Tensor> several) : tensors_(several) {}
  TensorList(std::initializer_list<std::pair<const char*, Tensor>> named);

  std::size_t size() const { return tensors_.size(); }
  bool empty() const { return tensors_.empty(); }
  const Tensor& operator[](std::size_t k) const { return tensors_[k]; }
  const Tensors& tensors() const { return tensors_; }
  /// Empty where the tensors are not named.
  const std::vector<std::string>& names() const { return names_; }
  /// The tensors in the order of `expected`; refuses a wrong count and unknown, missing or repeated names, listing both
  /// sides; `what` is one of them ("input").
  Tensors ordered(const std::vector<std::string>& expected, const std::string& what) const;

 private:
  Tensors tensors_;
  std::vector<std::string> names_;
};

}  // namespace twopass
