#include <cstring>
#include <exception>
#include <optional>
#include <unordered_map>

#include <twopass/graph/plan/passes.h>
#include <twopass/ops/shaping.h>

namespace twopass::planning {
namespace {

// The shape that a call's rule comes to with these inputs, if that is its output's or broadcasts to it.
std::optional<Shape> found(const Program& program, const PlannedCall& call, const std::vector<Spec>& specs) {
  const Spec& output = program.spec(call.output);
  try {
    const Spec spec = call.op->shape(call.arguments.get(), Specs(specs));
    if (spec.dtype == output.dtype && broadcast(spec.shape, output.shape) == output.shape) return spec.shape;
  } catch (const std::exception&) {
    // a rule that refuses what it is not made for, a user's perhaps
  }
  return std::nullopt;
}

// The value that a consumer which broadcasts may read instead: that before a call which only spreads it, if the rule of
// the consumer comes to the same shape then.
bool reads_unspread(const Program& program, PlannedCall& call, std::size_t k, ValueId before) {
  std::vector<Spec> specs = program.specs(call);
  specs[k] = program.spec(before);
  if (!call.op->repeats(call.arguments.get(), Specs(specs), k)) return false;
  if (found(program, call, specs) != program.spec(call.output).shape) return false;
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

// The shape that a reshape to `to` comes to of what is not spread from `least` to `whole` yet. Axes that it joins or
// cuts together, some spread and some not, must be spread before it: `least` becomes `whole` there.
Shape reshaped(Shape& least, const Shape& whole, const Shape& to) {
  Shape shape = to;
  for (int in = 0, out = 0; in < whole.rank() || out < to.rank();) {
    const int first_in = in, first_out = out;  // of the next axes with as many elements before as after
    std::int64_t before = 1, after = 1;
    bool spread = false, kept = false;
    do {
      if (in < whole.rank() && (before <= after || out == to.rank())) {
        if (whole[in] != 1) (least[in] == 1 ? spread : kept) = true;
        before *= whole[in++];
      } else {
        after *= to[out++];
      }
    } while (before != after);
    if (spread && kept)
      for (int axis = first_in; axis < in; ++axis) least = least.with(axis, whole[axis]);
    else if (spread)
      for (int axis = first_out; axis < out; ++axis) shape = shape.with(axis, 1);
  }
  return shape;
}

// Lets calls read what was broadcast for them before it was; if they may read all of it so, what they give is
// broadcast.
class Skipping {
 public:
  explicit Skipping(Program& program) : program_(program), spread_(program) {}

  void run() {
    std::vector<PlannedCall> calls = std::move(program_.calls);
    program_.calls.clear();
    for (PlannedCall& call : calls) {
      for (std::size_t k = 0; k < call.inputs.size(); ++k) skip(call, k);
      if (!move_before(call)) append(std::move(call));
    }
    share_looks();
    spread_.release_unused();
  }

 private:
  const Shape& shape(ValueId value) const { return program_.spec(value).shape; }

  // What a call only spread to this value, or the value itself.
  ValueId before(ValueId value) const {
    const auto maker = makers_.find(value);
    if (maker == makers_.end()) return value;
    const PlannedCall& call = program_.calls[maker->second];
    // Broadcasting alone, without arithmetic: a record of the library that broadcasts one input and is not elementwise.
    const bool spreads =
        call.inputs.size() == 1 && call.op->broadcasts() && !call.op->elementwise() && !call.op->foreign();
    return spreads ? call.inputs[0] : value;
  }
  ValueId before_all(ValueId value) const {
    for (ValueId next = before(value); next != value; next = before(value)) value = next;
    return value;
  }

  void skip(PlannedCall& call, std::size_t k) {
    if (call.inputs.size() == 1) return;  // what it gives would be smaller too
    if (const ValueId one = spread_.element(call.inputs[k]); one != call.inputs[k])
      reads_unspread(program_, call, k, one);
    for (ValueId next = before(call.inputs[k]); next != call.inputs[k]; next = before(next))
      if (!reads_unspread(program_, call, k, next)) break;
  }

  // Makes the call of what its inputs were before they were spread, and spreads its output, where that is less.
  bool move_before(const PlannedCall& call) {
    const Shape output = shape(call.output);
    PlannedCall moved = call;
    for (ValueId& input : moved.inputs) input = before_all(input);
    if (moved.inputs == call.inputs || output.elements() == 0) return false;
    Shape less = output;
    if (call.op->elementwise() && (call.op->broadcasts() || call.inputs.size() == 1)) {
      less = found(program_, call, program_.specs(moved)).value_or(output);
    } else if (call.inputs.size() == 1) {
      const Shape whole = shape(call.inputs[0]);
      Shape least = shape(moved.inputs[0]);
      while (least.rank() < whole.rank()) least = least.inserted(0, 1);
      const bool reshapes = call.op->aliases() && whole.elements() == output.elements();
      less = reshapes ? reshaped(least, whole, output) : narrowed(call, least);
      if (less == output) return false;
      moved.inputs[0] = as(moved.inputs[0], least, call.place);
      if (reshapes) become(moved, reshape(symbol_of(moved.inputs[0]), less));
    }
    if (less.elements() == output.elements()) return false;
    moved.output = add(less, program_.spec(call.output).dtype);
    PlannedCall spreading = call;
    spreading.inputs = {moved.output};
    become(spreading, broadcast_to(symbol_of(moved.output), output));
    append(std::move(moved));
    append(std::move(spreading));
    if (call.op->aliases()) {
      const auto seen = seen_.find(call.inputs[0]);
      looks_.push_back({call, seen == seen_.end() ? call.inputs[0] : seen->second});
      if (shape(call.inputs[0]).elements() == output.elements()) seen_.emplace(call.output, looks_.back().value);
    }
    return true;
  }

  // What lies there as a whole all the same, or would do so for another look at it, is not spread again to be looked
  // at.
  void share_looks() {
    const auto uses = program_.uses();
    std::unordered_map<ValueId, ValueId> whole;  // by value that is looked at: where all of it lies
    for (const Look& look : looks_) {
      PlannedCall call = look.call;
      if (uses[call.output] == 0) continue;
      if (seen_.contains(call.output)) {
        const auto [found, first] = whole.try_emplace(look.value, uses[look.value] > 0 ? look.value : call.output);
        if (found->second == call.output) continue;
        call.inputs = {found->second};
        become(call, reshape(symbol_of(found->second), shape(call.output)));
      } else if (uses[call.inputs[0]] == 0) {
        continue;
      }
      program_.calls[makers_.at(call.output)] = std::move(call);
    }
  }

  // What a call of one input comes to where that is spread along those axes alone which the call needs so: `least` is
  // the input's shape then. Rows that stay apart are made alike, by one kernel for any number of them.
  Shape narrowed(const PlannedCall& call, Shape& least) const {
    std::vector<Spec> specs = program_.specs(call);
    Shape less = shape(call.output);
    for (int axis = 0; axis < least.rank(); ++axis) {
      if (least[axis] == specs[0].shape[axis]) continue;
      const std::vector<Spec> tried{{specs[0].shape.with(axis, 1), specs[0].dtype}};
      const bool by_rows = axis == 0 && call.op->rows(call.arguments.get(), Specs(specs)) == 1;
      if (!by_rows && !call.op->repeats(call.arguments.get(), Specs(tried), 0)) continue;
      const Shape shape = found(program_, call, tried).value_or(less);
      if (shape.elements() == less.elements()) continue;
      specs = tried;
      less = shape;
    }
    least = specs[0].shape;
    return less;
  }

  // The value in a shape that it is reshaped or spread to.
  ValueId as(ValueId value, const Shape& wanted, const std::string& place) {
    if (shape(value) == wanted) return value;
    PlannedCall call{.op = nullptr, .arguments = {}, .inputs = {value}, .output = 0, .place = place};
    const bool whole = shape(value).elements() == wanted.elements();
    become(call, whole ? reshape(symbol_of(value), wanted) : broadcast_to(symbol_of(value), wanted));
    const ValueId made = call.output = add(wanted, program_.spec(value).dtype);
    append(std::move(call));
    return made;
  }

  Tensor symbol_of(ValueId value) const { return symbol(shape(value), program_.spec(value).dtype, "x"); }
  static void become(PlannedCall& call, const Tensor& made) {
    call.op = made.node().op;
    call.arguments = made.node().arguments;
  }
  ValueId add(const Shape& shape, DType dtype) {
    program_.values.push_back({.kind = Value::Kind::computed, .spec = {shape, dtype}});
    return static_cast<ValueId>(program_.values.size() - 1);
  }
  void append(PlannedCall call) {
    makers_[call.output] = program_.calls.size();
    program_.calls.push_back(std::move(call));
  }

  // A call that only looks at memory, and was moved.
  struct Look {
    PlannedCall call;
    ValueId value;  // at which it looks, through others that look at all of it
  };

  Program& program_;
  Spread spread_;
  std::unordered_map<ValueId, std::size_t> makers_{};  // by value: the place of the call that makes it
  std::vector<Look> looks_{};
  std::unordered_map<ValueId, ValueId> seen_{};  // by what is made by a look at all of a value: that value
};

}  // namespace

void skip_broadcasts(Program& program) { Skipping(program).run(); }

}  // namespace twopass::planning
