#include <algorithm>
#include <iterator>
#include <optional>
#include <unordered_map>

#include <twopass/graph/plan/passes.h>

namespace twopass::planning {
namespace {

// How a call may be cut: into `rows` rows, or (rows 0) anywhere, as its elements are numbered alike in all that it
// reads. Bit k of `split` is set where input k is cut with the output; other inputs are read whole.
struct Cut {
  std::int64_t rows;
  std::int64_t elements;
  std::uint64_t split;
};

constexpr std::size_t kMostInputs = 63;

std::optional<Cut> elementwise_cut(const Program& program, const PlannedCall& call) {
  const Shape& output = program.spec(call.output).shape;
  Cut cut{0, output.elements(), 0};
  for (std::size_t k = 0; k < call.inputs.size(); ++k) {
    const std::int64_t elements = program.spec(call.inputs[k]).shape.elements();
    if (elements == cut.elements)
      cut.split |= std::uint64_t{1} << k;
    else if (elements != 1)
      cut.rows = output[0];
  }
  if (cut.rows == 0) return cut;
  cut.split = 0;
  for (std::size_t k = 0; k < call.inputs.size(); ++k) {
    const Shape& input = program.spec(call.inputs[k]).shape;
    if (input.rank() == output.rank() && input[0] == output[0]) cut.split |= std::uint64_t{1} << k;
  }
  return cut;
}

std::optional<Cut> cut_of(const Program& program, const PlannedCall& call) {
  const Shape& output = program.spec(call.output).shape;
  // What is made of nothing is no part of a block: rows without bytes cannot be told from what is read whole.
  for (const ValueId input : call.inputs)
    if (program.spec(input).shape.elements() == 0) return std::nullopt;
  if (call.op->gathers()) {
    const Shape& gathered = program.spec(call.inputs[0]).shape;
    return call.inputs.size() == 1 ? std::optional(Cut{gathered[0], gathered.elements(), 1}) : std::nullopt;
  }
  if (call.inputs.size() > kMostInputs) return std::nullopt;
  if (output.elements() == 1 && call.op->elementwise())  // numbers, as an optimizer's factors: a group of their own
    return Cut{0, 1, (std::uint64_t{1} << call.inputs.size()) - 1};
  if (output.rank() == 0 || output.elements() < 2) return std::nullopt;
  std::optional<Cut> cut;
  if (call.op->elementwise()) {
    cut = elementwise_cut(program, call);
  } else {
    const std::vector<Spec> specs = program.specs(call);
    const unsigned split = call.op->rows(call.arguments.get(), Specs(specs));
    if (split) cut = Cut{output[0], output.elements(), split};
  }
  if (cut && cut->rows == 1) return std::nullopt;  // one row is no part of anything
  return cut;
}

// Calls that will be one step.
struct Group {
  std::vector<PlannedCall> calls;
  bool open = false;  // whether others may join
  std::int64_t rows = 0, elements = 0;
};

class Grouping {
 public:
  explicit Grouping(Program& program)
      : program_(program), made_in_(program.values.size(), kOutside), gathered_(program.values.size(), false) {}

  void run() {
    for (PlannedCall& call : program_.calls) {
      begin(call);
      place(std::move(call));
    }
    program_.calls.clear();
    const std::vector<bool> read_outside = find_read_outside();
    for (Group& group : groups_) {
      bool joined = std::any_of(group.calls.begin(), group.calls.end(),
                                [&](const PlannedCall& call) { return !read_outside[call.output]; });
      // What gathers rows comes last, so that it does not stand between calls that are code together.
      const auto gathering = std::stable_partition(group.calls.begin(), group.calls.end(),
                                                   [](const PlannedCall& call) { return !call.op->gathers(); });
      joined = joined || (group.calls.size() > 1 && gathering != group.calls.end());
      // Where nothing stays inside, each call by itself goes through memory once, too, and few streams at a time are
      // faster: softmax with its gradient on [4096, 1024] takes 2.9 ms in two steps and 3.5 in one.
      if (!joined) {
        for (PlannedCall& call : group.calls) {
          program_.steps.push_back({program_.calls.size(), 1});
          program_.calls.push_back(std::move(call));
        }
        continue;
      }
      program_.steps.push_back({program_.calls.size(), group.calls.size(), group.rows ? group.rows : group.elements});
      std::move(group.calls.begin(), group.calls.end(), std::back_inserter(program_.calls));
    }
  }

 private:
  static constexpr std::int64_t kOutside = -1;
  // Elements from which it is worth to read a tensor once for two calls that have nothing else in common.
  static constexpr std::int64_t kLarge = 4096;
  // Elements that a second-level cache does not hold, so that a sum over their rows would fetch them again.
  static constexpr std::int64_t kBegun = 512 << 10;
  // Groups that a call's inputs lie apart, at most, for them to be joined.
  static constexpr std::size_t kLooked = 64;
  // Calls of those between them, at most, for the same.
  static constexpr std::size_t kLookedCalls = 4096;
  // Calls that may wait for others: an optimizer's for a parameter, not a long chain whose values would all live
  // longer.
  static constexpr std::size_t kFewCalls = 16;
  // Elements of a row of which a block still has several.
  static constexpr std::int64_t kLongestRow = 16 << 10;

  // The values that are wanted, or read by a call of another group than the one that makes them.
  std::vector<bool> find_read_outside() const {
    std::vector<bool> outside(program_.values.size(), false);
    for (const ValueId output : program_.outputs) outside[program_.root(output)] = true;
    for (const Program::Update& update : program_.updates) outside[program_.root(update.value)] = true;
    for (std::size_t index = 0; index < groups_.size(); ++index)
      for (const PlannedCall& call : groups_[index].calls)
        for (const ValueId input : call.inputs)
          if (made_in_[program_.root(input)] != static_cast<std::int64_t>(index)) outside[program_.root(input)] = true;
    return outside;
  }

  bool split(const Cut& cut, std::size_t input) const { return cut.split >> input & 1; }

  // Lets a sum over many rows begin in the step that makes or reads them: it goes on with what that gives.
  void begin(PlannedCall& call) {
    const std::vector<Spec> specs = program_.specs(call);
    const Op* const op = call.op->begins(call.arguments.get(), Specs(specs));
    if (!op || specs[0].shape.elements() < kBegun || !program_.whole(call.inputs[0])) return;
    if (specs[0].shape.elements() / specs[0].shape[0] > kLongestRow) return;
    const auto made = static_cast<ValueId>(program_.values.size());
    program_.values.push_back({.kind = Value::Kind::computed, .spec = op->shape(nullptr, Specs(specs))});
    made_in_.push_back(kOutside);
    gathered_.push_back(false);
    place({.op = op, .arguments = {}, .inputs = {call.inputs[0]}, .output = made});
    call.inputs[0] = made;
  }

  // The rows that the group and the call have in common, or none: 0 where both are cut anywhere.
  std::optional<std::int64_t> common_rows(std::size_t index, const PlannedCall& call, const Cut& cut) const {
    const Group& group = groups_[index];
    if (!group.open) return std::nullopt;
    const std::int64_t rows = group.rows ? group.rows : cut.rows;
    if (group.rows && cut.rows && group.rows != cut.rows) return std::nullopt;
    if (rows == 0 && group.elements != cut.elements) return std::nullopt;
    if (rows && (group.elements % rows || cut.elements % rows)) return std::nullopt;
    for (std::size_t k = 0; k < call.inputs.size(); ++k)
      if (made_in_[program_.root(call.inputs[k])] == static_cast<std::int64_t>(index) &&
          (!split(cut, k) || !program_.whole(call.inputs[k]) || gathered_[program_.root(call.inputs[k])]))
        return std::nullopt;
    return rows;
  }

  // Where the calls of a group are now.
  std::size_t now(std::size_t index) const {
    for (auto next = went_to_.find(index); next != went_to_.end(); next = went_to_.find(index)) index = next->second;
    return index;
  }

  // Whether an older group may become part of a newer one: no group between them reads what it makes.
  bool may_wait(std::size_t older, std::size_t newer) const {
    const Group &from = groups_[older], &to = groups_[newer];
    if (!from.open || !to.open || newer - older > kLooked || from.calls.size() > kFewCalls) return false;
    if (from.rows && to.rows && from.rows != to.rows) return false;
    const std::int64_t rows = std::max(from.rows, to.rows);
    if (rows ? from.elements % rows || to.elements % rows : from.elements != to.elements) return false;
    for (const Group* group : {&from, &to})
      for (const PlannedCall& call : group->calls)
        if (call.op->gathers()) return false;
    std::size_t between = 0;
    for (std::size_t index = older + 1; index < newer; ++index) {
      between += groups_[index].calls.size();
      if (between > kLookedCalls) return false;
      for (const PlannedCall& call : groups_[index].calls)
        for (const ValueId input : call.inputs)
          if (made_in_[program_.root(input)] == static_cast<std::int64_t>(older)) return false;
    }
    return true;
  }

  // Groups that are joined by a call that reads from both, as an optimizer's slot times its factor and its gradient
  // times the rate: the older one's calls wait.
  void merge(const PlannedCall& call, const Cut& cut, std::size_t newest) {
    for (const ValueId input : call.inputs) {
      const std::int64_t maker = made_in_[program_.root(input)];
      if (maker == kOutside || maker == static_cast<std::int64_t>(newest)) continue;
      const auto older = static_cast<std::size_t>(maker);
      if (!common_rows(older, call, cut) || !common_rows(newest, call, cut) || !may_wait(older, newest)) continue;
      Group &from = groups_[older], &to = groups_[newest];
      to.rows = std::max(from.rows, to.rows);
      for (const PlannedCall& each : from.calls) made_in_[each.output] = static_cast<std::int64_t>(newest);
      went_to_.emplace(older, newest);
      to.calls.insert(to.calls.begin(), std::make_move_iterator(from.calls.begin()),
                      std::make_move_iterator(from.calls.end()));
      from = {};
    }
  }

  void place(PlannedCall call) {
    std::int64_t newest = kOutside;  // the group of the last input that is made
    for (const ValueId input : call.inputs) newest = std::max(newest, made_in_[program_.root(input)]);
    const auto cut = cut_of(program_, call);
    if (cut) {
      if (newest != kOutside) merge(call, *cut, static_cast<std::size_t>(newest));
      if (newest != kOutside && join(static_cast<std::size_t>(newest), call, *cut)) return;
      for (std::size_t k = 0; k < call.inputs.size(); ++k) {
        const auto reader = readers_.find(program_.root(call.inputs[k]));
        if (!split(*cut, k) || reader == readers_.end()) continue;
        const std::size_t index = now(reader->second);
        if (static_cast<std::int64_t>(index) > newest && join(index, call, *cut)) return;
      }
    }
    groups_.push_back({.calls = {}, .open = cut.has_value()});
    if (cut) {
      groups_.back().rows = cut->rows;
      groups_.back().elements = cut->elements;
    }
    add(groups_.size() - 1, std::move(call), cut);
  }

  bool join(std::size_t index, PlannedCall& call, const Cut& cut) {
    const auto rows = common_rows(index, call, cut);
    if (!rows) return false;
    groups_[index].rows = *rows;
    add(index, std::move(call), cut);
    return true;
  }

  void add(std::size_t index, PlannedCall call, const std::optional<Cut>& cut) {
    made_in_[call.output] = static_cast<std::int64_t>(index);
    gathered_[call.output] = call.op->gathers() > 0;
    if (cut)
      for (std::size_t k = 0; k < call.inputs.size(); ++k)
        if (split(*cut, k) && program_.spec(call.inputs[k]).shape.elements() >= kLarge)
          readers_[program_.root(call.inputs[k])] = index;
    groups_[index].calls.push_back(std::move(call));
  }

  Program& program_;
  std::vector<Group> groups_;
  std::vector<std::int64_t> made_in_;  // by value: its group
  std::vector<bool> gathered_;         // by value: whether its rows are made of several of the step each
  std::unordered_map<ValueId, std::size_t> readers_{};      // by value: the last group that reads it in parts
  std::unordered_map<std::size_t, std::size_t> went_to_{};  // by group that has become part of another: that one
};

}  // namespace

void group_tiles(Program& program) { Grouping(program).run(); }

}  // namespace twopass::planning
