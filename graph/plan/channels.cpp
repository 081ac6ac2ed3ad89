#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include <twopass/graph/plan/passes.h>
#include <twopass/ops/blocked.h>
#include <twopass/ops/shaping.h>

namespace twopass::planning {
namespace {

// Values that must lie alike are a group. One whose convolutions are spared more bytes of turning than twice those that
// are turned where it is made or read otherwise goes into blocks: a turn of its own goes through memory, those within
// convolutions through cache.
class Channels {
 public:
  explicit Channels(Program& program) : program_(program), groups_(program.values.size()), spared_(groups_.size()) {
    std::iota(groups_.begin(), groups_.end(), ValueId{0});
  }

  void run() {
    ask();
    if (size_ == 0) return;
    weigh();
    if (std::none_of(spared_.begin(), spared_.end(), [](std::int64_t bytes) { return bytes > 0; })) return;
    in_blocks_.assign(program_.values.size(), kNone);
    in_planes_.assign(program_.values.size(), true);
    std::vector<PlannedCall> calls = std::move(program_.calls);
    program_.calls.clear();
    for (std::size_t k = 0; k < calls.size(); ++k) rewrite(std::move(calls[k]), forms_[k]);
    for (const ValueId output : program_.outputs) planes_of(output);
    for (const Program::Update& update : program_.updates) planes_of(update.value);
  }

 private:
  static constexpr ValueId kNone = UINT32_MAX;

  static bool has(unsigned inputs, std::size_t k) { return k < 32 && (inputs >> k & 1) != 0; }

  ValueId group(ValueId value) {
    while (groups_[value] != value) value = groups_[value] = groups_[groups_[value]];
    return value;
  }
  bool blocked(ValueId value) { return spared_[group(value)] > 0; }

  // How each call goes on blocks of one size: that which the first convolution likes.
  void ask() {
    constexpr ChannelBlocks kAll{.size = 0, .inputs = ~0U, .output = true};
    for (const PlannedCall& call : program_.calls) {
      if (size_ != 0) break;
      if (call.op->elementwise()) continue;
      const auto specs = program_.specs(call);
      if (const auto form = call.op->in_blocks(call.arguments.get(), Specs(specs), kAll)) size_ = form->blocks.size;
    }
    if (size_ == 0) return;
    for (const PlannedCall& call : program_.calls) {
      forms_.push_back(form_of(call, {size_, ~0U, true}));
      if (!forms_.back()) continue;
      for (std::size_t k = 0; k < call.inputs.size(); ++k)
        if (has(forms_.back()->tied & forms_.back()->blocks.inputs, k))
          groups_[group(call.inputs[k])] = group(call.output);
    }
  }

  std::optional<InBlocks> form_of(const PlannedCall& call, const ChannelBlocks& wanted) const {
    const auto specs = program_.specs(call);
    return call.op->elementwise() ? elementwise(call, specs)
                                  : call.op->in_blocks(call.arguments.get(), Specs(specs), wanted);
  }

  // Operands of the output's shape are in blocks then; others must be the same for all channels, or for all places.
  std::optional<InBlocks> elementwise(const PlannedCall& call, const std::vector<Spec>& specs) const {
    const Shape& y = program_.spec(call.output).shape;
    if (y.rank() != 4 || y.open() || y[1] % size_ != 0 || specs.size() > 32) return std::nullopt;
    InBlocks form{call.op, call.arguments, {size_, 0, true}};
    for (std::size_t k = 0; k < specs.size(); ++k) {
      if (specs[k].shape == y)
        form.blocks.inputs |= 1U << k;
      else if (!beside_blocks(specs[k].shape))
        return std::nullopt;
    }
    if (form.blocks.inputs == 0) return std::nullopt;
    form.tied = form.blocks.inputs;
    return form;
  }

  // The shape in which an operand of fewer axes or sizes of 1 goes with blocks, if there is one.
  std::optional<Shape> beside_blocks(const Shape& x) const {
    if (x.rank() == 0) return x;
    const int rank = x.rank();
    if (rank < 3 || x[rank - 3] == 1) return x.inserted(rank, 1);
    if (x[rank - 3] % size_ != 0 || x[rank - 2] != 1 || x[rank - 1] != 1) return std::nullopt;
    const Shape apart{rank == 4 ? x[0] : 1, x[rank - 3] / size_, 1, 1, size_};
    return apart;
  }

  void weigh() {
    std::vector<bool> turned(program_.values.size(), false);  // made or read otherwise
    std::vector<bool> made(program_.values.size(), false);    // in blocks
    const auto spare = [&](ValueId value) { spared_[group(value)] += program_.values[value].bytes(); };
    for (std::size_t k = 0; k < program_.calls.size(); ++k) {
      const PlannedCall& call = program_.calls[k];
      const auto& form = forms_[k];
      made[call.output] = form && form->blocks.output;
      if (made[call.output] && form->spared) spare(call.output);
      for (std::size_t at = 0; at < call.inputs.size(); ++at) {
        const bool taken = form && has(form->blocks.inputs, at);
        if (!taken)
          turned[call.inputs[at]] = true;
        else if (form->spared && !has(form->tied, at))
          spare(call.inputs[at]);
      }
    }
    for (const ValueId output : program_.outputs) turned[output] = true;
    for (const Program::Update& update : program_.updates) turned[update.value] = true;
    for (ValueId value = 0; value < program_.values.size(); ++value)
      spared_[group(value)] -= 2 * program_.values[value].bytes() * ((turned[value] ? 1 : 0) + (made[value] ? 0 : 1));
  }

  void rewrite(PlannedCall call, const std::optional<InBlocks>& form) {
    const ValueId output = call.output;
    ChannelBlocks wanted{size_, 0, false};
    if (form) {
      for (std::size_t k = 0; k < call.inputs.size(); ++k)
        if (has(form->blocks.inputs, k) && blocked(call.inputs[k])) wanted.inputs |= 1U << k;
      wanted.output = form->blocks.output && blocked(output);
    }
    if (wanted.inputs == 0 && !wanted.output) {
      for (ValueId& input : call.inputs) input = planes_of(input);
      program_.calls.push_back(std::move(call));
      return;
    }
    const auto as = form_of(call, wanted);
    for (std::size_t k = 0; k < call.inputs.size(); ++k) {
      ValueId& input = call.inputs[k];
      input = has(as->blocks.inputs, k) ? blocks_of(input) : planes_of(input);
      if (call.op->elementwise() && !has(as->blocks.inputs, k))
        input = reshaped(input, *beside_blocks(program_.spec(input).shape));
    }
    call.op = as->op;
    call.arguments = as->arguments;
    const auto specs = program_.specs(call);
    const Spec spec = call.op->shape(call.arguments.get(), Specs(specs));
    const bool renamed = !(spec.shape == program_.spec(output).shape);
    if (renamed) call.output = add({.kind = Value::Kind::computed, .spec = spec});
    const ValueId made = call.output;
    program_.calls.push_back(std::move(call));
    if (as->blocks.output) {
      in_blocks_[output] = made;
      in_planes_[output] = false;
    } else if (renamed) {
      append(reshape(symbol_of(made), program_.spec(output).shape), made, output);
    }
  }

  ValueId blocks_of(ValueId value) {
    if (in_blocks_[value] == kNone) {
      const Shape shape = blocked::blocks(program_.spec(value).shape, size_);
      const ValueId apart = reshaped(value, {shape[0], shape[1], size_, shape[2], shape[3]});
      in_blocks_[value] = appended(transpose(symbol_of(apart), {0, 1, 3, 4, 2}), apart);
    }
    return in_blocks_[value];
  }

  ValueId planes_of(ValueId value) {
    if (value >= in_planes_.size() || in_planes_[value]) return value;
    const ValueId apart = appended(transpose(symbol_of(in_blocks_[value]), {0, 1, 4, 2, 3}), in_blocks_[value]);
    append(reshape(symbol_of(apart), program_.spec(value).shape), apart, value);
    in_planes_[value] = true;
    return value;
  }

  ValueId reshaped(ValueId value, const Shape& shape) {
    return program_.spec(value).shape == shape ? value : appended(reshape(symbol_of(value), shape), value);
  }

  Tensor symbol_of(ValueId value) const { return symbol(program_.spec(value).shape, program_.spec(value).dtype, "x"); }

  // The call that a symbol remembers, of `input`, into a value that is there or a new one.
  void append(const Tensor& made, ValueId input, ValueId output) {
    program_.calls.push_back(
        {.op = made.node().op, .arguments = made.node().arguments, .inputs = {input}, .output = output});
  }
  ValueId appended(const Tensor& made, ValueId input) {
    const ValueId output = add({.kind = Value::Kind::computed, .spec = {made.shape(), made.dtype()}});
    append(made, input, output);
    return output;
  }
  ValueId add(Value value) {
    program_.values.push_back(std::move(value));
    return static_cast<ValueId>(program_.values.size() - 1);
  }

  Program& program_;
  std::int64_t size_ = 0;
  std::vector<std::optional<InBlocks>> forms_{};  // by call
  std::vector<ValueId> groups_;                   // by value: another of its group, or itself
  std::vector<std::int64_t> spared_;              // bytes, by the group's value
  std::vector<ValueId> in_blocks_{};              // by value: that in blocks, or kNone where there is none yet
  std::vector<bool> in_planes_{};                 // by value: whether it is there as itself
};

}  // namespace

void keep_blocks(Program& program) { Channels(program).run(); }

}  // namespace twopass::planning
