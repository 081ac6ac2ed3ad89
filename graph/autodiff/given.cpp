#include <twopass/graph/autodiff/given.h>

#include <fmt/format.h>

#include <twopass/core/error.h>

namespace twopass {
namespace {

constexpr const char* kUndefined = "one that was never given a value, or moved from (as backward(std::move(y)) does)";

}  // namespace

void check_given(const char* call, bool given, const char* what) {
  if (!given) throw Error(fmt::format("{}: the {} is null", call, what));
}

std::string numbered(const char* what, std::size_t number, std::size_t count) {
  return count == 1 ? what : fmt::format("{} {}", what, number);
}

void check_defined(const char* call, const char* what, std::span<const Tensor> tensors) {
  for (std::size_t k = 0; k < tensors.size(); ++k)
    if (!tensors[k].defined())
      throw Error(fmt::format("{}: {}{} is an undefined tensor: {}", call,
                              tensors.size() == 1 && what[1] != 0 ? "the " : "", numbered(what, k, tensors.size()),
                              kUndefined));
}

void check_gives(const char* call, std::span<const Tensor> outputs) {
  for (std::size_t k = 0; k < outputs.size(); ++k)
    if (!outputs[k].defined())
      throw Error(fmt::format("{}: the function gives an undefined tensor{}: {}", call,
                              outputs.size() == 1 ? "" : fmt::format(" for output {}", k), kUndefined));
}

}  // namespace twopass
