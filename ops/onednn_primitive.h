// oneDNN's primitives as this library uses them: made once per thread and shape, run on one thread, scratch memory from
// the pool. For the onednn files of this folder.
#pragma once
#include <dnnl.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace twopass::onednn {

dnnl::engine& engine();
/// Whether oneDNN can be kept to one thread: it was built for OpenMP, whose functions are found, or for no threads.
bool usable();

/// While it lives, oneDNN's OpenMP starts no threads from this one: the pool of this library has them.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

/// A primitive with its operands; none where oneDNN has only a reference implementation.
class Primitive {
 public:
  using Operand = std::pair<int, dnnl::memory::desc>;  // the place among the arguments, and the layout

  Primitive() = default;
  template <typename Description>
  Primitive(dnnl::primitive made, const Description& description, const std::vector<Operand>& operands)
      : Primitive(std::move(made), description.scratchpad_desc(), description.impl_info_str(), operands) {}
  explicit operator bool() const { return static_cast<bool>(primitive_); }
  /// Memory that a run takes.
  std::size_t scratch_bytes() const { return scratch_bytes_; }
  /// Runs on operands at these places, in the order in which they were named.
  void run(std::span<const void* const> places) const;

 private:
  Primitive(dnnl::primitive made, const dnnl::memory::desc& scratchpad, const char* implementation,
            const std::vector<Operand>& operands);

  dnnl::primitive primitive_;
  std::vector<dnnl::memory> memories_;  // the operands, then the scratchpad
  std::vector<dnnl_exec_arg_t> arguments_;
  std::size_t scratch_bytes_ = 0;
};

/// Scratch memory is given, so that primitives may run on any thread.
dnnl::primitive_attr attributes();

template <std::size_t N>
using Key = std::array<std::int64_t, N>;
struct KeyHash {
  template <std::size_t N>
  std::size_t operator()(const Key<N>& key) const {
    std::uint64_t hash = 0, factor = 0x9e3779b97f4a7c15;  // products that do not wait for each other
    for (const std::int64_t each : key) {
      hash += (static_cast<std::uint64_t>(each) + factor) * factor;
      factor += 0x3c6ef372fe94f82a;
    }
    return hash ^ hash >> 29;
  }
};

/// What `make` gave for this key on this thread. Bounded: oneDNN keeps what it compiled in a cache of its own.
template <typename Value, std::size_t N, typename Make>
const Value& cached(const Key<N>& key, const Make& make) {
  constexpr std::size_t kMost = 512;
  thread_local std::unordered_map<Key<N>, Value, KeyHash> values;
  const auto found = values.find(key);
  if (found != values.end()) return found->second;
  if (values.size() >= kMost) values.clear();
  try {
    return values.emplace(key, make()).first->second;
  } catch (const dnnl::error&) {  // oneDNN has no such primitive
    return values.emplace(key, Value()).first->second;
  }
}

}  // namespace twopass::onednn
