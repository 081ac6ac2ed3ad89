#include <deque>
#include <optional>
#include <vector>

#include <twopass/graph/plan/passes.h>
#include <twopass/ops/shaping.h>

namespace twopass::planning {
namespace {

class Absorbing {
 public:
  explicit Absorbing(Program& program)
      : program_(program), uses_(program.uses()), makers_(program.values.size(), kNone) {}

  void run() {
    std::vector<PlannedCall> consumers = std::move(program_.calls);
    for (PlannedCall& consumer : consumers) {
      for (std::size_t at = 0; at < consumer.inputs.size(); ++at) {
        const std::size_t maker = makers_[consumer.inputs[at]];
        if (maker == kNone || uses_[consumer.inputs[at]] != 1 || !absorb(*calls_[maker], consumer, at)) continue;
        calls_[maker].reset();
        break;
      }
      add(std::move(consumer));
    }
    program_.calls.clear();
    for (auto& call : calls_)
      if (call) program_.calls.push_back(std::move(*call));
  }

 private:
  static constexpr std::size_t kNone = SIZE_MAX;

  void add(PlannedCall call) {
    makers_[call.output] = calls_.size();
    calls_.emplace_back(std::move(call));
  }

  // Makes `consumer` the one call that does both calls' work; the product is left without users.
  bool absorb(const PlannedCall& product, PlannedCall& consumer, std::size_t at) {
    const std::vector<Spec> specs = program_.specs(consumer), of_product = program_.specs(product);
    Consumer seen{*consumer.op, consumer.arguments.get(), Specs(specs), at, Specs(of_product)};
    if (consumer.inputs.size() == 2)
      for (std::size_t k = 0; k < product.inputs.size(); ++k)
        if (product.inputs[k] == consumer.inputs[1 - at]) seen.same = static_cast<int>(k);
    const auto found = product.op->absorb(product.arguments.get(), seen);
    if (!found) return false;
    std::vector<ValueId> inputs;
    for (const int from : found->inputs)
      inputs.push_back(from >= 0 ? product.inputs[static_cast<std::size_t>(from)]
                                 : consumer.inputs[static_cast<std::size_t>(-1 - from)]);
    if (found->flat >= 0) {
      ValueId& input = inputs[static_cast<std::size_t>(found->flat)];
      input = flattened(input);
    }
    consumer.op = found->op;
    consumer.arguments = found->arguments;
    consumer.inputs = std::move(inputs);
    if (consumer.place.empty()) consumer.place = product.place;
    return true;
  }

  // The value in one axis, by a call of its own, which is a view later.
  ValueId flattened(ValueId value) {
    const Spec spec = program_.spec(value);
    const Tensor flat = reshape(symbol(spec.shape, spec.dtype, "x"), {spec.shape.elements()});
    const auto made = static_cast<ValueId>(program_.values.size());
    program_.values.push_back({.kind = Value::Kind::computed, .spec = {flat.shape(), spec.dtype}});
    makers_.push_back(kNone);
    uses_.push_back(1);
    add({.op = flat.node().op, .arguments = flat.node().arguments, .inputs = {value}, .output = made});
    return made;
  }

  Program& program_;
  std::vector<std::uint32_t> uses_;                 // by value
  std::vector<std::size_t> makers_;                 // by value: the call that makes it, or kNone
  std::deque<std::optional<PlannedCall>> calls_{};  // stay where they are when others join
};

}  // namespace

void absorb_consumers(Program& program) { Absorbing(program).run(); }

}  // namespace twopass::planning
