#include <twopass/graph/plan/blocks.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <unordered_map>
#include <unordered_set>

namespace twopass::planning {
namespace {

constexpr std::int64_t kTileBytes = 24 << 10;  // of a block's own memory: most of a first-level cache
constexpr std::int64_t kLeastElements = 1024;  // of a block, so that calling kernels costs little beside running them
constexpr std::int64_t kMostElements = 16384;  // of one that has no memory of its own
constexpr std::int64_t kFarBytes = 32 << 20;   // of all that a step reads and writes, from which no cache holds it
constexpr std::int64_t kLineBytes = 64;
constexpr std::size_t kMostCoded = 48;  // calls in one function
constexpr std::size_t kMostParts = 40;

class Cutting {
 public:
  Cutting(const Program& program, const Layout& layout, const Step& step, MachineCode& code)
      : program_(program), layout_(layout), step_(step), code_(code) {}

  Blocks cut() {
    for (std::size_t k = 0; k < step_.count; ++k) add(program_.calls[step_.first + k]);
    find_last_readers();
    write_code();
    add_kernels();
    lay_out_tile();
    find_streams();
    return std::move(blocks_);
  }

 private:
  bool in_tile(ValueId value) const { return layout_.places[value].kind == Place::Kind::tile; }
  std::int64_t row_bytes(ValueId value) const { return program_.values[value].bytes() / step_.rows; }

  void add(const PlannedCall& call) {
    const Shape& shape = program_.spec(call.output).shape;
    blocks_.elements += static_cast<double>(shape.elements());
    const auto specs = program_.specs(call);
    const int each = call.op->gathers();
    const unsigned rows = each ? 1 : call.op->elementwise() ? 0 : call.op->rows(call.arguments.get(), Specs(specs));
    Blocks::Call made{&call,
                      call.op->elementwise(),
                      shape.elements() / step_.rows,
                      specs.empty() ? f32 : specs.back().dtype,
                      {},
                      {.value = call.output, .row_bytes = row_bytes(call.output)}};
    if (each) {
      made.output.each = each;
      made.output.row_bytes = program_.values[call.output].bytes() / shape[0];
    }
    for (const Spec& spec : specs)
      made.flat = made.flat && (spec.shape.elements() == shape.elements() || spec.shape.elements() == 1);
    for (std::size_t i = 0; i < call.inputs.size(); ++i) {
      const Shape& input = specs[i].shape;
      const bool split = made.flat                ? input.elements() == shape.elements()
                         : call.op->elementwise() ? input.rank() == shape.rank() && input[0] == shape[0]
                                                  : rows >> i & 1;
      made.inputs.push_back({.value = call.inputs[i], .row_bytes = split ? row_bytes(call.inputs[i]) : 0});
    }
    blocks_.calls.push_back(std::move(made));
  }

  void find_last_readers() {
    for (std::size_t k = 0; k < blocks_.calls.size(); ++k)
      for (const Blocks::Operand& input : blocks_.calls[k].inputs) last_reader_[program_.root(input.value)] = k;
  }

  // ---- code

  RowPart part_of(const Blocks::Operand& operand) const {
    const std::int64_t elements = program_.spec(operand.value).shape.elements();
    return {operand.value, operand.row_bytes ? elements / step_.rows : elements, operand.row_bytes != 0};
  }
  bool arithmetic(const Blocks::Call& call) const {
    Lanes lanes;
    std::vector<Lane> x;
    for (std::size_t k = 0; k < call.inputs.size(); ++k) x.push_back(lanes.input(false));
    const auto specs = program_.specs(*call.call);
    return is_floating(program_.spec(call.output.value).dtype) &&
           call.call->op->lanes(call.call->arguments.get(), Specs(specs), lanes, x).defined();
  }

  void write_code() {
    for (std::size_t first = 0; first < blocks_.calls.size();) {
      std::size_t end = first;
      while (end < blocks_.calls.size() && end - first < kMostCoded && arithmetic(blocks_.calls[end])) ++end;
      write_code(first, end);
      first = std::max(end, first + 1);
    }
  }

  // As few functions as will do: one, or those of the halves.
  void write_code(std::size_t first, std::size_t end) {
    if (end - first < 2 || write_function(first, end)) return;
    const std::size_t half = first + (end - first) / 2;
    write_code(first, half);
    write_code(half, end);
  }

  bool write_function(std::size_t first, std::size_t end) {
    std::vector<RowCall> calls;
    for (std::size_t k = first; k < end; ++k) {
      const Blocks::Call& call = blocks_.calls[k];
      calls.push_back({call.call, {}, part_of(call.output)});
      for (const Blocks::Operand& input : call.inputs) calls.back().inputs.push_back(part_of(input));
    }
    const auto wanted = [&](ValueId value) {
      const auto reader = last_reader_.find(value);
      return !in_tile(value) || (reader != last_reader_.end() && reader->second >= end);
    };
    const auto sweeps = sweeps_of(program_, layout_, calls, wanted);
    if (!sweeps || sweeps->parts.size() > kMostParts) return false;
    Blocks::Code made{-1,
                      sweeps->elements ? 0 : blocks_.calls[first].row_elements,
                      {},
                      sweeps->kept,
                      sweeps->elements * static_cast<std::int64_t>(size_of(sweeps->dtype))};
    for (const RowPart& part : sweeps->parts)
      made.parts.push_back({.value = part.value, .row_bytes = part.moves ? row_bytes(part.value) : 0});
    made.function = code_.write(*sweeps, streams_of(*sweeps, made, end - first == blocks_.calls.size()));
    if (made.function < 0) return false;
    blocks_.items.push_back({first, end - first, static_cast<std::int32_t>(blocks_.code.size())});
    blocks_.code.push_back(std::move(made));
    return true;
  }

  // What code that is all of the step (`whole`) writes goes past the caches where so much is read and written that none
  // holds it until it is read. What it reads is not asked for: the processor sees it coming.
  std::vector<Stream> streams_of(const Sweeps& sweeps, const Blocks::Code& code, bool whole) const {
    std::vector<Stream> streams;
    std::int64_t bytes = 0;
    const auto short_row = [&](std::size_t k) { return sweeps.elements && sweeps.parts[k].elements == 1; };
    for (std::size_t k = 0; k < code.parts.size(); ++k) {
      streams.push_back({.row_bytes = code.parts[k].row_bytes});
      if (!short_row(k)) bytes += streams[k].row_bytes * step_.rows;
    }
    if (!whole || bytes < kFarBytes) return streams;
    for (const Sweeps::Line& line : sweeps.lines) {
      if (line.to < 0) continue;
      const auto k = static_cast<std::size_t>(line.to);
      const std::int64_t row = streams[k].row_bytes;
      streams[k].past_cache = row > 0 && row % kLineBytes == 0 && !short_row(k) && !in_place(sweeps, k);
    }
    return streams;
  }

  // Whether a part takes the memory of another.
  bool in_place(const Sweeps& sweeps, std::size_t part) const {
    const Place& place = layout_.places[sweeps.parts[part].value];
    for (std::size_t k = 0; k < sweeps.parts.size(); ++k) {
      const Place& other = layout_.places[sweeps.parts[k].value];
      if (k != part && place.kind == Place::Kind::arena && other.kind == place.kind && other.offset == place.offset)
        return true;
    }
    return false;
  }

  void add_kernels() {
    std::vector<Blocks::Item> items;
    std::size_t next = 0;
    blocks_.items.push_back({blocks_.calls.size(), 0});
    for (const Blocks::Item& item : blocks_.items) {
      for (; next < item.first; ++next) items.push_back({next, 1});
      if (item.count) items.push_back(item);
      next = item.first + item.count;
    }
    blocks_.items = std::move(items);
  }

  // ---- memory

  template <typename F>
  void for_operands(Blocks::Item item, const F& f) {
    if (item.code >= 0) {
      for (Blocks::Operand& part : blocks_.code[static_cast<std::size_t>(item.code)].parts) f(part);
      return;
    }
    Blocks::Call& call = blocks_.calls[item.first];
    for (Blocks::Operand& input : call.inputs) f(input);
    f(call.output);
  }

  // What lives in the block's own memory, one row of it, from the item that makes it to the last that reads it.
  void lay_out_tile() {
    std::vector<Interval> intervals;
    std::unordered_map<ValueId, std::size_t> interval_of;
    for (std::size_t k = 0; k < blocks_.items.size(); ++k)
      for_operands(blocks_.items[k], [&](const Blocks::Operand& operand) {
        if (!in_tile(operand.value)) return;
        const ValueId root = program_.root(operand.value);
        const auto [known, fresh] = interval_of.try_emplace(root, intervals.size());
        if (fresh)
          intervals.push_back({row_bytes(root), k, k});
        else
          intervals[known->second].to = k;
      });
    std::int64_t widest = 1;
    for (const Blocks::Call& call : blocks_.calls) widest = std::max(widest, call.row_elements);
    const std::int64_t live = most_live_bytes(intervals);
    std::int64_t rows = live > 0 ? std::max(kTileBytes / live, kLeastElements / widest) : kMostElements / widest;
    if (rows > 64) rows = rows / 64 * 64;
    rows = std::max<std::int64_t>(rows, 1);
    for (const Blocks::Call& call : blocks_.calls) {
      const std::int64_t each = call.output.each;  // a block is a part of these, or has several whole
      if (each == 1) continue;
      rows = rows < each ? static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(rows)))
                         : rows / each * each;
      blocks_.together = std::max<std::int64_t>(1, each / rows);
    }
    blocks_.rows = std::clamp<std::int64_t>(rows, 1, step_.rows);
    blocks_.count = (step_.rows + blocks_.rows - 1) / blocks_.rows;
    for (Interval& each : intervals) each.bytes *= blocks_.rows;
    blocks_.tile_bytes = place_intervals(intervals);
    blocks_.memory_bytes = blocks_.tile_bytes;
    for (const Blocks::Code& code : blocks_.code)
      blocks_.memory_bytes = std::max(blocks_.memory_bytes, blocks_.tile_bytes + code.kept * code.kept_bytes);
    for (const Blocks::Item& item : blocks_.items)
      for_operands(item, [&](Blocks::Operand& operand) {
        set_shapes(operand);
        if (!in_tile(operand.value)) return;
        operand.in_tile = true;
        operand.offset = intervals[interval_of.at(program_.root(operand.value))].offset;
      });
  }

  void set_shapes(Blocks::Operand& operand) const {
    const Shape& shape = program_.spec(operand.value).shape;
    operand.block = operand.tail = shape;
    if (operand.row_bytes == 0 || shape.rank() == 0 || (shape[0] != step_.rows && operand.each == 1)) return;
    const auto part = [&](std::int64_t rows) { return shape.with(0, (rows + operand.each - 1) / operand.each); };
    operand.block = part(blocks_.rows);
    operand.tail = part(step_.rows % blocks_.rows ? step_.rows % blocks_.rows : blocks_.rows);
  }

  void find_streams() {
    if (blocks_.items.size() == 1) return;  // code asks for nothing
    std::unordered_set<ValueId> seen;
    std::int64_t bytes = 0;
    for (const Blocks::Call& call : blocks_.calls) {
      const auto stream = [&](const Blocks::Operand& operand, bool written) {
        const ValueId root = program_.root(operand.value);
        if (in_tile(root) || operand.row_bytes == 0 || !seen.insert(root).second) return;
        bytes += operand.row_bytes * step_.rows;
        blocks_.streams.push_back({operand.value, operand.row_bytes, written});
      };
      for (const Blocks::Operand& input : call.inputs) stream(input, false);
      if (call.output.each == 1) stream(call.output, true);
    }
    // Asking ahead pays where there is much to do between two requests; otherwise the processor asks for itself.
    if (bytes < kFarBytes || blocks_.calls.size() < 2 * blocks_.streams.size()) blocks_.streams.clear();
  }

  const Program& program_;
  const Layout& layout_;
  const Step& step_;
  MachineCode& code_;
  std::unordered_map<ValueId, std::size_t> last_reader_;
  Blocks blocks_;
};

}  // namespace

Blocks cut_into_blocks(const Program& program, const Layout& layout, const Step& step, MachineCode& code) {
  return Cutting(program, layout, step, code).cut();
}

}  // namespace twopass::planning
