#include <twopass/graph/plan/sweeps.h>

#include <algorithm>
#include <unordered_map>

namespace twopass::planning {
namespace {

using Kind = Lanes::Kind;

constexpr std::int64_t kShortRow = 32;    // elements below which calling kernels for many rows at a time is better
constexpr std::int64_t kLongSum = 32768;  // elements that the reductions' kernel still has in one tile
constexpr std::int64_t kSumLanes = 32;    // and how many it adds at a time
constexpr std::size_t kMostLines = 200;

// One row of all elements where every call goes through as many in the same order, else the longest row.
std::optional<std::int64_t> row_elements(std::span<const RowCall> calls) {
  std::int64_t longest = 0;
  bool flat = true;
  for (const RowCall& call : calls) {
    longest = std::max(longest, call.output.elements);
    flat = flat && call.call->op->elementwise() && call.output.elements == calls[0].output.elements;
    for (const RowPart& part : call.inputs) {
      longest = std::max(longest, part.elements);
      flat = flat && (part.moves ? part.elements == call.output.elements : part.elements == 1);
    }
  }
  if (flat) return 0;
  if (longest < kShortRow) return std::nullopt;
  return longest;
}

class Building {
 public:
  Building(const Program& program, const Layout& layout, std::span<const RowCall> calls,
           const std::function<bool(ValueId)>& wanted)
      : program_(program), layout_(layout), calls_(calls), wanted_(wanted) {}

  std::optional<Sweeps> build() {
    const auto elements = row_elements(calls_);
    if (!elements) return std::nullopt;
    made_.elements = *elements;
    made_.dtype = program_.spec(calls_[0].output.value).dtype;
    for (const RowCall& call : calls_)
      if (!add(call)) return std::nullopt;
    if (lanes_.lines().size() > kMostLines) return std::nullopt;
    for (const Lanes::Line& line : lanes_.lines()) made_.lines.push_back({line, 0, -1, -1, -1});
    for (const auto& [lane, part] : inputs_) at(lane).from = part;
    for (const auto& [lane, part] : outputs_) {
      // of two outputs that are one value, or of an output that is an input, one is a copy that nobody makes here
      if (at(lane).to >= 0 || at(lane).is(Kind::input) || at(lane).is(Kind::constant)) return std::nullopt;
      at(lane).to = part;
    }
    schedule();
    delay();
    if (!keep() || !in_place_in_order()) return std::nullopt;
    return std::move(made_);
  }

 private:
  Sweeps::Line& at(Lane lane) { return made_.lines[static_cast<std::size_t>(lane.number)]; }
  Sweeps::Line& at(std::size_t line) { return made_.lines[line]; }

  std::int32_t part(const RowPart& part) {
    made_.parts.push_back(part);
    return static_cast<std::int32_t>(made_.parts.size() - 1);
  }

  const Lanes::Line& at_lane(Lane lane) const { return lanes_.lines()[static_cast<std::size_t>(lane.number)]; }

  bool floating(ValueId value) const { return program_.spec(value).dtype == made_.dtype && is_floating(made_.dtype); }

  // Whether a row has one of it; none: neither that nor one for each element.
  std::optional<bool> one_a_row(const RowPart& part) const {
    if (made_.elements == 0) return !part.moves;
    if (part.elements == made_.elements) return false;
    return part.elements == 1 ? std::optional(true) : std::nullopt;
  }

  bool add(const RowCall& call) {
    std::vector<Lane> x;
    for (const RowPart& each : call.inputs) {
      const auto row = one_a_row(each);
      if (!row || !floating(each.value)) return false;
      const bool whole = program_.whole(each.value);
      if (!whole && lane_of_.contains(program_.root(each.value))) return false;
      Lane& lane = lane_of_[whole ? program_.root(each.value) : each.value];
      // A vector may be one number for each row here and a row in common there, where rows are as many as elements.
      if (lane.defined() && at_lane(lane).row != *row) return false;
      if (!lane.defined()) {
        lane = lanes_.input(*row);
        inputs_.emplace_back(lane, part(each));
      }
      x.push_back(lane);
    }
    const auto row = one_a_row(call.output);
    if (!row || !floating(call.output.value)) return false;
    const auto specs = program_.specs(*call.call);
    const std::size_t before = lanes_.lines().size();
    const Lane y = call.call->op->lanes(call.call->arguments.get(), Specs(specs), lanes_, x);
    if (!y.defined()) return false;
    const auto& lines = lanes_.lines();
    if (lines[static_cast<std::size_t>(y.number)].row != *row) return false;
    for (std::size_t k = before; k < lines.size(); ++k)
      if (lines[k].kind == Kind::sum && (made_.elements % kSumLanes != 0 || made_.elements > kLongSum ||
                                         lines[static_cast<std::size_t>(lines[k].a.number)].row))
        return false;
    lane_of_[call.output.value] = y;
    if (wanted_(call.output.value)) outputs_.emplace_back(y, part(call.output));
    return true;
  }

  template <typename F>
  static void for_operands(const Sweeps::Line& line, const F& f) {
    if (line.what.a.defined()) f(static_cast<std::size_t>(line.what.a.number));
    if (line.what.b.defined()) f(static_cast<std::size_t>(line.what.b.number));
  }
  // Each line as early as its operands are there.
  void schedule() {
    for (Sweeps::Line& line : made_.lines) {
      for_operands(line, [&](std::size_t operand) { line.sweep = std::max(line.sweep, at(operand).sweep); });
      if (line.is(Kind::sum)) ++line.sweep;
      if (!line.what.row) made_.count = std::max(made_.count, line.sweep + 1);
      if (line.is(Kind::sum)) made_.count = std::max(made_.count, line.sweep);
    }
  }

  // Lines that read memory alone wait for the first loop that uses them, so that nothing keeps them meanwhile.
  void delay() {
    std::vector<std::int32_t> used(made_.lines.size(), made_.count);
    for (std::size_t k = made_.lines.size(); k-- > 0;) {
      Sweeps::Line& line = at(k);
      bool waits = !line.what.row && !line.is(Kind::input) && line.to < 0 && used[k] < made_.count;
      for_operands(
          line, [&](std::size_t operand) { waits = waits && (at(operand).what.row || at(operand).is(Kind::input)); });
      if (waits) line.sweep = std::max(line.sweep, used[k]);
      for_operands(line, [&](std::size_t operand) { used[operand] = std::min(used[operand], line.reads_in()); });
    }
  }

  // What a later loop reads is kept.
  bool keep() {
    for (const Sweeps::Line& line : made_.lines)
      for_operands(line, [&](std::size_t operand) {
        Sweeps::Line& read = at(operand);
        if (!read.what.row && !read.is(Kind::input) && read.sweep < line.reads_in() && read.kept < 0)
          read.kept = made_.kept++;
      });
    return made_.kept <= 8;
  }

  // An output that takes the memory of an input may not be written before a loop that reads the input.
  bool in_place_in_order() {
    for (const Sweeps::Line& written : made_.lines) {
      if (written.to < 0 || written.what.row) continue;
      const ValueId output = made_.parts[static_cast<std::size_t>(written.to)].value;
      for (std::size_t k = 0; k < made_.lines.size(); ++k) {
        if (at(k).from < 0 || !share(made_.parts[static_cast<std::size_t>(at(k).from)].value, output)) continue;
        for (const Sweeps::Line& reader : made_.lines)
          for_operands(reader, [&](std::size_t operand) {
            late_ = late_ || (operand == k && reader.reads_in() > written.sweep);
          });
      }
    }
    return !late_;
  }

  // Whether two values may lie in the same memory; in a block's own memory those of one step's part never do.
  bool share(ValueId a, ValueId b) const {
    const Place &of_a = layout_.places[a], &of_b = layout_.places[b];
    return of_a.kind == Place::Kind::arena && of_b.kind == Place::Kind::arena && of_a.offset == of_b.offset;
  }

  const Program& program_;
  const Layout& layout_;
  std::span<const RowCall> calls_;
  const std::function<bool(ValueId)>& wanted_;
  Lanes lanes_;
  std::unordered_map<ValueId, Lane> lane_of_;
  std::vector<std::pair<Lane, std::int32_t>> inputs_, outputs_;
  bool late_ = false;
  Sweeps made_;
};

}  // namespace

std::optional<Sweeps> sweeps_of(const Program& program, const Layout& layout, std::span<const RowCall> calls,
                                const std::function<bool(ValueId)>& wanted) {
  return Building(program, layout, calls, wanted).build();
}

}  // namespace twopass::planning
