#include <cstring>
#include <unordered_map>

#include <twopass/graph/plan/passes.h>
#include <twopass/ops/shaping.h>

namespace twopass::planning {
namespace {

// The value that a consumer which broadcasts may read instead: that before a call which only spreads it, if the rule of
// the consumer comes to the same shape then.
bool reads_unspread(const Program& program, PlannedCall& call, std::size_t k, ValueId before) {
  std::vector<Spec> specs = program.specs(call);
  specs[k] = program.spec(before);
  if (!call.op->repeats(call.arguments.get(), Specs(specs), k)) return false;
  const Spec& output = program.spec(call.output);
  try {
    const Spec found = call.op->shape(call.arguments.get(), Specs(specs));
    if (!(found.shape == output.shape) || found.dtype != output.dtype) return false;
  } catch (const Error&) {
    return false;  // an op that is elementwise but does not broadcast
  }
  call.inputs[k] = before;
  return true;
}

// Bytes of a constant from which reading it costs more than what products that would have taken it over.
constexpr std::size_t kWorth = 16 << 10;

// Constants all of whose elements are one number, as the gradient of a sum is, and that number.
class Spread {
 public:
  explicit Spread(Program& program) : program_(program) {}

  // The constant of one element, or the value itself where it is no such constant.
  ValueId element(ValueId value) {
    if (program_.values[value].kind != Value::Kind::constant) return value;
    const auto [found, added] = elements_.try_emplace(value, value);
    if (added && uniform(program_.values[value].constant)) {
      found->second = static_cast<ValueId>(program_.values.size());
      const Tensor one = first(program_.values[value].constant);
      program_.values.push_back({.kind = Value::Kind::constant, .spec = {{}, one.dtype()}, .constant = one});
    }
    return found->second;
  }

  // What nobody reads any more is held no longer.
  void release_unused() {
    const auto uses = program_.uses();
    for (const auto& [value, one] : elements_)
      if (value != one && uses[value] == 0) program_.values[value] = Value(program_.values[one]);
  }

 private:
  static bool uniform(const Tensor& x) {
    const std::size_t size = size_of(x.dtype()), bytes = x.node().bytes();
    return bytes > kWorth && std::memcmp(x.node().data, x.node().data + size, bytes - size) == 0;
  }
  static Tensor first(const Tensor& x) {
    Tensor one = uninitialised({}, x.dtype());
    std::memcpy(one.node().data, x.node().data, size_of(x.dtype()));
    return one;
  }

  Program& program_;
  std::unordered_map<ValueId, ValueId> elements_;
};

}  // namespace

void skip_broadcasts(Program& program) {
  const auto makers = program.makers();
  const auto maker_of = [&](ValueId value) { return value < makers.size() ? makers[value] : program.calls.size(); };
  Spread spread(program);
  for (PlannedCall& call : program.calls) {
    for (std::size_t k = 0; k < call.inputs.size(); ++k) {
      if (const ValueId one = spread.element(call.inputs[k]); one != call.inputs[k])
        reads_unspread(program, call, k, one);
      for (std::size_t maker = maker_of(call.inputs[k]); maker < program.calls.size();) {
        const PlannedCall& before = program.calls[maker];
        // Broadcasting alone, without arithmetic: a record that broadcasts one input and is not elementwise.
        const bool spreads = before.inputs.size() == 1 && before.op->broadcasts() && !before.op->elementwise();
        if (!spreads || !reads_unspread(program, call, k, before.inputs[0])) break;
        maker = maker_of(call.inputs[k]);
      }
    }
  }
  spread.release_unused();
}

}  // namespace twopass::planning
