#include <twopass/graph/plan/machine.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <twopass/core/finite.h>
#include <twopass/core/threads.h>

namespace twopass::planning {
namespace {

constexpr std::int64_t kTileBytes = 24 << 10;  // of a block's own memory: most of a first-level cache
constexpr std::int64_t kLeastElements = 1024;  // of a block, so that calling kernels costs little beside running them
constexpr std::int64_t kWorthThreads = 128 << 10;  // elements that a step makes, from which threads help
constexpr std::int64_t kFarBytes = 1 << 20;        // of all that a step reads and writes, from which it comes from afar
constexpr std::size_t kFewInputs = 8;

}  // namespace

Machine::Machine(Program program)
    : program_(std::move(program)),
      layout_(lay_out(program_)),
      arena_(static_cast<std::size_t>(layout_.arena_bytes)),
      pointers_(program_.values.size(), nullptr),
      ready_(program_.steps.size()),
      not_finite_(program_.updates.size()) {
  for (ValueId id = 0; id < program_.values.size(); ++id) {
    const Value& value = program_.values[id];
    if (value.kind == Value::Kind::view)
      views_.push_back(id);
    else if (value.kind == Value::Kind::constant)
      pointers_[id] = value.constant.node().data;
    else if (layout_.places[id].kind == Place::Kind::arena)
      pointers_[id] = arena_.data() + layout_.places[id].offset;
  }
  const auto makers = program_.makers();
  std::vector<std::size_t> step_of(program_.calls.size());
  for (std::size_t index = 0; index < program_.steps.size(); ++index) {
    const Step& step = program_.steps[index];
    for (std::size_t k = step.first; k < step.first + step.count; ++k) step_of[k] = index;
    if (step.rows) prepare_tiles(step, ready_[index]);
  }
  for (std::size_t number = 0; number < program_.updates.size(); ++number)
    if (const std::size_t maker = makers[program_.root(program_.updates[number].value)]; maker < program_.calls.size())
      ready_[step_of[maker]].updates.push_back(number);
}

Machine::Operand Machine::operand(ValueId value, std::int64_t rows, bool split, std::int64_t block_rows) const {
  const Shape& shape = program_.spec(value).shape;
  Operand operand{value, false, 0, 0, shape, shape};
  if (!split) return operand;
  operand.row_bytes = program_.values[value].bytes() / rows;
  if (shape.rank() > 0 && shape[0] == rows) {
    operand.block = shape.with(0, block_rows);
    operand.tail = shape.with(0, rows % block_rows ? rows % block_rows : block_rows);
  }
  return operand;
}

void Machine::prepare_tiles(const Step& step, Ready& ready) {
  const auto begin = step.first, end = step.first + step.count;
  // What lives in the block's own memory, one row of it, from its maker to its last reader.
  std::vector<Interval> intervals;
  std::vector<std::size_t> interval_of(program_.values.size(), SIZE_MAX);
  const auto in_tile = [&](ValueId value) { return layout_.places[value].kind == Place::Kind::tile; };
  std::int64_t widest = 0;
  for (std::size_t k = begin; k < end; ++k) {
    const ValueId output = program_.calls[k].output;
    for (const ValueId input : program_.calls[k].inputs)
      if (const std::size_t known = interval_of[program_.root(input)]; known != SIZE_MAX) intervals[known].to = k;
    widest = std::max(widest, program_.spec(output).shape.elements() / step.rows);
    if (!in_tile(output)) continue;
    interval_of[output] = intervals.size();
    intervals.push_back({program_.values[output].bytes() / step.rows, k, k});
  }
  const std::int64_t row_bytes = std::max<std::int64_t>(1, most_live_bytes(intervals));
  std::int64_t block = std::max(kTileBytes / row_bytes, kLeastElements / std::max<std::int64_t>(1, widest));
  if (block > 64) block = block / 64 * 64;
  ready.block_rows = std::clamp<std::int64_t>(block, 1, step.rows);
  ready.blocks = (step.rows + ready.block_rows - 1) / ready.block_rows;
  for (Interval& each : intervals) each.bytes *= ready.block_rows;
  ready.tile_bytes = place_intervals(intervals);

  double elements = 0;
  for (std::size_t k = begin; k < end; ++k) {
    const PlannedCall& call = program_.calls[k];
    const Shape& shape = program_.spec(call.output).shape;
    elements += static_cast<double>(shape.elements());
    const auto specs = program_.specs(call);
    const unsigned rows = call.op->elementwise() ? 0 : call.op->rows(call.arguments.get(), Specs(specs));
    ReadyCall made{&call,
                   call.op->elementwise(),
                   shape.elements() / step.rows,
                   specs.empty() ? f32 : specs.back().dtype,
                   {},
                   operand(call.output, step.rows, true, ready.block_rows)};
    for (const Spec& spec : specs)
      made.flat = made.flat && (spec.shape.elements() == shape.elements() || spec.shape.elements() == 1);
    const auto locate = [&](Operand& operand) {
      if (!in_tile(operand.value)) return;
      operand.in_tile = true;
      operand.offset = intervals[interval_of[program_.root(operand.value)]].offset;
    };
    for (std::size_t i = 0; i < call.inputs.size(); ++i) {
      const Shape& input = specs[i].shape;
      const bool split = made.flat                ? input.elements() == shape.elements()
                         : call.op->elementwise() ? input.rank() == shape.rank() && input[0] == shape[0]
                                                  : rows >> i & 1;
      made.inputs.push_back(operand(call.inputs[i], step.rows, split, ready.block_rows));
      locate(made.inputs.back());
    }
    locate(made.output);
    ready.calls.push_back(std::move(made));
  }
  std::vector<ValueId> seen;
  std::int64_t stream_bytes = 0;
  for (const ReadyCall& call : ready.calls) {
    const auto stream = [&](const Operand& operand, bool written) {
      const ValueId root = program_.root(operand.value);
      if (operand.in_tile || operand.row_bytes == 0 || std::find(seen.begin(), seen.end(), root) != seen.end()) return;
      seen.push_back(root);
      stream_bytes += operand.row_bytes * step.rows;
      ready.streams.push_back({operand.value, operand.row_bytes, written});
    };
    for (const Operand& input : call.inputs) stream(input, false);
    stream(call.output, true);
  }
  // Asking ahead pays where there is much to do between two requests; otherwise the processor asks for itself.
  if (stream_bytes < kFarBytes || ready.calls.size() < 2 * ready.streams.size()) ready.streams.clear();
  ready.threads = ready.blocks > 1 && elements >= static_cast<double>(kWorthThreads);
}

void Machine::check(const Program::Update& update, std::size_t number, const std::byte* from, std::int64_t bytes) {
  const DType dtype = program_.spec(update.value).dtype;
  if (all_finite(from, bytes / static_cast<std::int64_t>(size_of(dtype)), dtype)) return;
  std::size_t first = not_finite_.load();
  while (number < first && !not_finite_.compare_exchange_weak(first, number)) continue;
}

void Machine::run_whole(const PlannedCall& call) {
  if (call.op->aliases()) {  // where views were not resolved
    const auto offset = call.op->alias(call.arguments.get(), program_.spec(call.inputs[0]).shape).value_or(0);
    const auto bytes = static_cast<std::size_t>(program_.values[call.output].bytes());
    if (bytes)
      std::memcpy(
          pointers_[call.output],
          pointers_[call.inputs[0]] + offset * static_cast<std::int64_t>(size_of(program_.spec(call.output).dtype)),
          bytes);
    return;
  }
  std::array<View, kFewInputs> few;
  std::vector<View> many(call.inputs.size() > kFewInputs ? call.inputs.size() : 0);
  View* const views = many.empty() ? few.data() : many.data();
  for (std::size_t k = 0; k < call.inputs.size(); ++k) {
    const Spec& spec = program_.spec(call.inputs[k]);
    views[k] = {pointers_[call.inputs[k]], &spec.shape, spec.dtype};
  }
  const Spec& spec = program_.spec(call.output);
  forward(call, Inputs(views, call.inputs.size()), {pointers_[call.output], &spec.shape, spec.dtype});
}

// Between the calls of a block, what the next block reads and writes is asked for, a part at a time: the processor by
// itself stops at the end of each page. Layer norm of plain ops on [4096, 1024], both passes: 11.8 to 7.5 ms.
void Machine::fetch_part(const Step& step, const Ready& ready, std::int64_t block, std::size_t part) const {
  constexpr std::int64_t kLine = 64;
  const std::int64_t first = block * ready.block_rows, rows = std::min(ready.block_rows, step.rows - first);
  const auto parts = static_cast<std::int64_t>(ready.calls.size());
  for (const Stream& stream : ready.streams) {
    const std::int64_t bytes = rows * stream.row_bytes, each = (bytes / parts + kLine - 1) / kLine * kLine;
    const std::byte* const from = pointers_[stream.value] + first * stream.row_bytes;
    const std::int64_t begin = static_cast<std::int64_t>(part) * each, end = std::min(bytes, begin + each);
    if (stream.written)
      for (std::int64_t at = begin; at < end; at += kLine) __builtin_prefetch(from + at, 1, 2);
    else
      for (std::int64_t at = begin; at < end; at += kLine) __builtin_prefetch(from + at, 0, 2);
  }
}

void Machine::run_block(const Step& step, const Ready& ready, std::int64_t block, std::byte* memory) {
  const std::int64_t first = block * ready.block_rows, rows = std::min(ready.block_rows, step.rows - first);
  const bool tail = rows != ready.block_rows;
  const auto place = [&](const Operand& operand) {
    return operand.in_tile ? memory + operand.offset : pointers_[operand.value] + first * operand.row_bytes;
  };
  std::size_t part = 0;
  for (const ReadyCall& ready_call : ready.calls) {
    if (!ready.streams.empty() && block + 1 < ready.blocks) fetch_part(step, ready, block + 1, part++);
    const PlannedCall& call = *ready_call.call;
    std::byte* const out = place(ready_call.output);
    const std::size_t count = call.inputs.size();
    if (ready_call.flat) {
      std::array<twopass::Operand, kFewInputs> operands;
      for (std::size_t k = 0; k < count; ++k)
        operands[k] = {place(ready_call.inputs[k]), ready_call.inputs[k].row_bytes == 0};
      call.op->run(call.arguments.get(), {operands.data(), count}, out, rows * ready_call.row_elements,
                   ready_call.dtype);
      continue;
    }
    std::array<View, kFewInputs> few;
    std::vector<View> many(count > kFewInputs ? count : 0);
    View* const views = many.empty() ? few.data() : many.data();
    for (std::size_t k = 0; k < count; ++k) {
      const Operand& input = ready_call.inputs[k];
      views[k] = {place(input), tail ? &input.tail : &input.block, program_.spec(input.value).dtype};
    }
    call.op->forward(
        call.arguments.get(), Inputs(views, count),
        {out, tail ? &ready_call.output.tail : &ready_call.output.block, program_.spec(call.output).dtype});
  }
  for (const std::size_t number : ready.updates) {
    const Program::Update& update = program_.updates[number];
    const std::int64_t row_bytes = program_.values[update.value].bytes() / step.rows;
    check(update, number, pointers_[program_.root(update.value)] + first * row_bytes, rows * row_bytes);
  }
}

void Machine::run_blocks(const Step& step, Ready& ready) {
  const auto blocks = [&](std::int64_t begin, std::int64_t end) {
    const Buffer memory(static_cast<std::size_t>(ready.tile_bytes));
    for (std::int64_t block = begin; block < end; ++block) run_block(step, ready, block, memory.data());
  };
  if (!ready.threads) return blocks(0, ready.blocks);
  constexpr std::int64_t kTiles = 64;  // at most, so that each has several blocks where there are many
  const std::int64_t each = (ready.blocks + kTiles - 1) / kTiles;
  parallel_for((ready.blocks + each - 1) / each,
               [&](std::int64_t tile) { blocks(tile * each, std::min(ready.blocks, (tile + 1) * each)); });
}

// As apply does: the reason of a refusal behind the call.
void Machine::forward(const PlannedCall& call, Inputs inputs, const Output& output) const {
  try {
    call.op->forward(call.arguments.get(), inputs, output);
  } catch (const Error& reason) {
    const std::vector<Spec> specs = program_.specs(call);
    throw Error(call_text(*call.op, call.arguments.get(), Specs(specs)) + ": " + reason.what());
  }
}

void Machine::run_step(std::size_t index) {
  const Step& step = program_.steps[index];
  Ready& ready = ready_[index];
  if (step.rows) return run_blocks(step, ready);
  run_whole(program_.calls[step.first]);
  for (const std::size_t number : ready.updates) {
    const ValueId root = program_.root(program_.updates[number].value);
    check(program_.updates[number], number, pointers_[root], program_.values[root].bytes());
  }
}

std::size_t Machine::run() {
  std::vector<double> none;
  return run(none);
}

std::size_t Machine::run(std::vector<double>& seconds) {
  not_finite_ = program_.updates.size();
  for (const ValueId view : views_) {
    const Value& value = program_.values[view];
    if (pointers_[value.base])
      pointers_[view] = pointers_[value.base] + value.offset * static_cast<std::int64_t>(size_of(value.spec.dtype));
  }
  for (std::size_t index = 0; index < program_.steps.size(); ++index) {
    if (seconds.empty()) {
      run_step(index);
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    run_step(index);
    seconds[index] += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  return not_finite_;
}

}  // namespace twopass::planning
