// What a plan runs: values and the calls between them, in order. For the files of this folder.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <twopass/core/parameter.h>
#include <twopass/ops/op.h>

namespace twopass::planning {

using ValueId = std::uint32_t;

/// Something with a shape that calls read or write.
struct Value {
  enum class Kind : std::uint8_t { input, parameter, constant, computed, view };
  Kind kind;
  Spec spec;
  std::string name = {};     // of inputs and parameters
  Tensor constant = {};      // the value of a constant
  Parameter parameter = {};  // the cell of a parameter
  ValueId base = 0;          // whose memory a view lies in,
  std::int64_t offset = 0;   // and where, in elements
  std::int64_t bytes() const { return spec.shape.elements() * static_cast<std::int64_t>(size_of(spec.dtype)); }
};

struct PlannedCall {
  const Op* op;
  ArgumentsPointer arguments;
  std::vector<ValueId> inputs;
  ValueId output;
  std::string place = {};  // the layer that it belongs to, or the parameter that it updates; empty where there is none
};

/// Consecutive calls that run together: one call on whole tensors, or several that go through `rows` rows block by
/// block, so that what passes between them stays in cache.
struct Step {
  std::size_t first, count;
  std::int64_t rows = 0;  // 0: one call, whole
};

/// Steps that one thread runs one after another.
struct Strand {
  std::size_t first, count;
};

/// Consecutive strands that do not read one another: they may run at once.
struct Moment {
  std::vector<Strand> strands;
  bool wakes = true;  // whether threads that sleep are woken for it
};

struct Program {
  struct Update {
    Parameter parameter;
    ValueId value;
    std::string name;
  };
  std::vector<Value> values;
  std::vector<PlannedCall> calls;  // inputs come before their users
  std::vector<Step> steps;         // empty until calls are grouped: then every call is in one
  std::vector<Moment> moments;     // empty until strands are found: then every step is in one
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<std::string> output_names;
  std::vector<Update> updates;

  const Spec& spec(ValueId value) const { return values[value].spec; }
  std::vector<Spec> specs(const PlannedCall& call) const;
  /// How many inputs of calls, outputs and updates each value is.
  std::vector<std::uint32_t> uses() const;
  /// The call that makes each value, or none: the number of calls.
  std::vector<std::size_t> makers() const;
  /// The value whose memory a value lies in: itself, unless it is a view.
  ValueId root(ValueId value) const { return values[value].kind == Value::Kind::view ? values[value].base : value; }
  /// Whether a step runs a user's code, which may not be ready for several threads.
  bool foreign(const Step& step) const;
  /// Whether a value has all of its root's elements.
  bool whole(ValueId value) const;
  /// Reads `to` wherever `from` was read.
  void replace(const std::vector<ValueId>& by);

  /// "%7 f32 (128, 512) = affine_relu(%0, %1, %2)", a line for each input, call and output.
  std::string text() const;
  /// Those lines that say where what calls read comes from, such as "%0 f32 (128, 512) = input 0", and those that say
  /// which values are outputs and updates; `before` each.
  std::string sources_text(const char* before = "") const;
  std::string results_text(const char* before = "") const;
  /// By step: ", strand 2 of 8 at once", or nothing where it runs by itself.
  std::vector<std::string> strand_texts() const;
  std::string text(const PlannedCall& call) const;
};

}  // namespace twopass::planning
