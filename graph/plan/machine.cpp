#include <twopass/graph/plan/machine.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <twopass/core/finite.h>
#include <twopass/core/threads.h>
#include <twopass/ops/gemm.h>
#include <twopass/ops/precision.h>

namespace twopass::planning {
namespace {

// Elements that a step makes, from which threads help: 11 µs of the cheapest op (twopass_bench sharing). Half and twice
// as many make no difference to any workload.
constexpr std::int64_t kWorthThreads = 128 << 10;
constexpr std::size_t kFewInputs = 8;
constexpr std::size_t kMostPointers = 48;  // of a function's parts and of what it keeps

}  // namespace

Machine::Machine(Program program, Processor processor, bool share)
    : program_(std::move(program)),
      layout_(lay_out(program_, share)),
      arena_(static_cast<std::size_t>(layout_.arena_bytes)),
      pointers_(program_.values.size(), nullptr),
      processor_(processor),
      code_(processor),
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
    if (!step.rows) continue;
    Ready& ready = ready_[index];
    ready.blocks = cut_into_blocks(program_, layout_, step, code_);
    ready.threads = ready.blocks.count > 1 && ready.blocks.elements >= static_cast<double>(kWorthThreads) &&
                    !program_.foreign(step);
  }
  code_.finish();
  for (std::size_t number = 0; number < program_.updates.size(); ++number)
    if (const std::size_t maker = makers[program_.root(program_.updates[number].value)];
        maker < program_.calls.size() && program_.whole(program_.updates[number].value))
      ready_[step_of[maker]].updates.push_back(number);
    else
      other_updates_.push_back(number);
}

std::size_t Machine::coded_calls(std::size_t step) const {
  std::size_t coded = 0;
  for (const Blocks::Item& item : ready_[step].blocks.items) coded += item.code >= 0 ? item.count : 0;
  return coded;
}

std::int64_t Machine::scratch_bytes() const {
  const auto of_step = [&](std::size_t index) -> std::int64_t {
    const Step& step = program_.steps[index];
    if (step.rows) {
      const Blocks& blocks = ready_[index].blocks;
      return blocks.memory_bytes * (ready_[index].threads ? std::min<std::int64_t>(threads::count(), blocks.count) : 1);
    }
    const PlannedCall& call = program_.calls[step.first];
    const auto specs = program_.specs(call);
    return call.op->scratch(call.arguments.get(), Specs(specs));
  };
  std::int64_t most = 0;
  for (const Moment& moment : program_.moments) {
    std::int64_t together = 0;
    for (const Strand& strand : moment.strands) {
      std::int64_t longest = 0;
      for (std::size_t k = 0; k < strand.count; ++k) longest = std::max(longest, of_step(strand.first + k));
      together += longest;
    }
    most = std::max(most, together);
  }
  return most;
}

void Machine::check(const Program::Update& update, std::size_t number, const std::byte* from, std::int64_t bytes) {
  const DType dtype = program_.spec(update.value).dtype;
  if (all_finite(from, bytes / static_cast<std::int64_t>(size_of(dtype)), dtype)) return;
  std::size_t first = not_finite_.load();
  while (number < first && !not_finite_.compare_exchange_weak(first, number)) continue;
}

void Machine::run_whole(const PlannedCall& call, std::vector<View>& many) {
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
  if (call.inputs.size() > kFewInputs) many.resize(call.inputs.size());
  View* const views = many.empty() ? few.data() : many.data();
  for (std::size_t k = 0; k < call.inputs.size(); ++k) {
    const Spec& spec = program_.spec(call.inputs[k]);
    views[k] = {pointers_[call.inputs[k]], &spec.shape, spec.dtype};
  }
  const Spec& spec = program_.spec(call.output);
  forward(call, Inputs(views, call.inputs.size()), {pointers_[call.output], &spec.shape, spec.dtype});
}

// Between the calls of a block, what the next block reads and writes is asked for, a part at a time: the processor by
// itself stops at the end of each page.
void Machine::fetch_part(const Step& step, const Blocks& blocks, std::int64_t block, std::size_t part) const {
  constexpr std::int64_t kLine = 64;
  const std::int64_t first = block * blocks.rows, rows = std::min(blocks.rows, step.rows - first);
  const auto parts = static_cast<std::int64_t>(blocks.items.size());
  for (const Blocks::Stream& stream : blocks.streams) {
    const std::int64_t bytes = rows * stream.row_bytes, each = (bytes / parts + kLine - 1) / kLine * kLine;
    const std::byte* const from = pointers_[stream.value] + first * stream.row_bytes;
    const std::int64_t begin = static_cast<std::int64_t>(part) * each, end = std::min(bytes, begin + each);
    if (stream.written)
      for (std::int64_t at = begin; at < end; at += kLine) __builtin_prefetch(from + at, 1, 2);
    else
      for (std::int64_t at = begin; at < end; at += kLine) __builtin_prefetch(from + at, 0, 2);
  }
}

std::byte* Machine::place(const Blocks::Operand& operand, std::int64_t row, std::byte* memory) const {
  return operand.in_tile ? memory + operand.offset : pointers_[operand.value] + row / operand.each * operand.row_bytes;
}

void Machine::run_code(const Blocks& blocks, const Blocks::Code& code, std::int64_t row, std::int64_t rows,
                       std::byte* memory) const {
  std::array<std::byte*, kMostPointers> pointers;
  std::size_t count = 0;
  for (const Blocks::Operand& part : code.parts) pointers[count++] = place(part, row, memory);
  for (std::int64_t k = 0; k < code.kept; ++k) pointers[count++] = memory + blocks.tile_bytes + k * code.kept_bytes;
  code_.function(code.function)(pointers.data(), code.row_elements ? rows * code.row_elements : rows);
}

void Machine::run_call(const Blocks& blocks, const Blocks::Call& block_call, std::int64_t row, std::int64_t rows,
                       std::byte* memory) const {
  const PlannedCall& call = *block_call.call;
  std::byte* const out = place(block_call.output, row, memory);
  std::size_t count = call.inputs.size();
  if (block_call.flat) {
    std::array<Operand, kFewInputs> operands;
    for (std::size_t k = 0; k < count; ++k)
      operands[k] = {place(block_call.inputs[k], row, memory), block_call.inputs[k].row_bytes == 0};
    call.op->run(call.arguments.get(), {operands.data(), count}, out, rows * block_call.row_elements, block_call.dtype);
    return;
  }
  const bool tail = rows != blocks.rows;
  std::array<View, kFewInputs> few;
  std::vector<View> many(count > kFewInputs ? count : 0);
  View* const views = many.empty() ? few.data() : many.data();
  for (std::size_t k = 0; k < count; ++k) {
    const Blocks::Operand& input = block_call.inputs[k];
    views[k] = {place(input, row, memory), tail ? &input.tail : &input.block, program_.spec(input.value).dtype};
  }
  const Output output{out, tail ? &block_call.output.tail : &block_call.output.block, program_.spec(call.output).dtype};
  if (row % block_call.output.each) views[count++] = {out, output.of_shape, output.dtype};  // of the rows before
  call.op->forward(call.arguments.get(), Inputs(views, count), output);
}

void Machine::run_block_call(const Blocks& blocks, const Blocks::Call& block_call, std::int64_t row, std::int64_t rows,
                             std::byte* memory) const {
  try {
    run_call(blocks, block_call, row, rows, memory);
  } catch (const Error& reason) {
    refuse(*block_call.call, fmt::format("{} (in a block of {} rows from row {} on)", reason.what(), rows, row));
  }
}

void Machine::run_block(const Step& step, const Ready& ready, std::int64_t block, std::byte* memory) {
  const Blocks& blocks = ready.blocks;
  const std::int64_t first = block * blocks.rows, rows = std::min(blocks.rows, step.rows - first);
  std::size_t part = 0;
  for (const Blocks::Item& item : blocks.items) {
    if (!blocks.streams.empty() && block + 1 < blocks.count) fetch_part(step, blocks, block + 1, part++);
    if (item.code >= 0)
      run_code(blocks, blocks.code[static_cast<std::size_t>(item.code)], first, rows, memory);
    else
      run_block_call(blocks, blocks.calls[item.first], first, rows, memory);
  }
  for (const std::size_t number : ready.updates) {
    const Program::Update& update = program_.updates[number];
    const std::int64_t row_bytes = program_.values[update.value].bytes() / step.rows;
    check(update, number, pointers_[program_.root(update.value)] + first * row_bytes, rows * row_bytes);
  }
}

void Machine::run_blocks(const Step& step, const Ready& ready) {
  const std::int64_t count = ready.blocks.count;
  const auto blocks = [&](std::int64_t begin, std::int64_t end) {
    const Buffer memory(static_cast<std::size_t>(ready.blocks.memory_bytes));
    for (std::int64_t block = begin; block < end; ++block) run_block(step, ready, block, memory.data());
  };
  if (!ready.threads) return blocks(0, count);
  constexpr std::int64_t kTiles = 64;  // at most, so that each has several blocks where there are many
  const std::int64_t together = ready.blocks.together, least = (count + kTiles - 1) / kTiles,
                     each = (least + together - 1) / together * together;
  parallel_for((count + each - 1) / each,
               [&](std::int64_t tile) { blocks(tile * each, std::min(count, (tile + 1) * each)); });
}

// As apply does: the reason of a refusal behind the call.
void Machine::refuse(const PlannedCall& call, const std::string& reason) const {
  const std::vector<Spec> specs = program_.specs(call);
  throw Error(call_text(*call.op, call.arguments.get(), Specs(specs), reason) + ": " + reason);
}

void Machine::forward(const PlannedCall& call, Inputs inputs, const Output& output) const {
  try {
    call.op->forward(call.arguments.get(), inputs, output);
  } catch (const Error& reason) {
    refuse(call, reason.what());
  }
}

void Machine::run_step(std::size_t index) {
  const Step& step = program_.steps[index];
  Ready& ready = ready_[index];
  if (step.rows) return run_blocks(step, ready);
  run_whole(program_.calls[step.first], ready.views);
  for (const std::size_t number : ready.updates) {
    const ValueId root = program_.root(program_.updates[number].value);
    check(program_.updates[number], number, pointers_[root], program_.values[root].bytes());
  }
}

void Machine::run_moment(const Moment& moment) {
  const auto run_strand = [&](const Strand& strand) {
    for (std::size_t step = strand.first; step < strand.first + strand.count; ++step) run_step(step);
  };
  if (moment.strands.size() == 1) return run_strand(moment.strands[0]);
  const Precision precision = products_precision();  // which is this thread's,
  const bool turn = products_turn();                 // as is this
  parallel_for(
      static_cast<std::int64_t>(moment.strands.size()),
      [&](std::int64_t k) {
        const PrecisionScope scope(precision);
        const TurnScope turning(turn);
        run_strand(moment.strands[static_cast<std::size_t>(k)]);
      },
      moment.wakes ? threads::Effort::large : threads::Effort::small);
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
  if (seconds.empty())
    for (const Moment& moment : program_.moments) run_moment(moment);
  for (std::size_t index = 0; index < seconds.size(); ++index) {
    const auto begin = std::chrono::steady_clock::now();
    run_step(index);
    seconds[index] += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  for (const std::size_t number : other_updates_) {
    const ValueId value = program_.updates[number].value;
    check(program_.updates[number], number, pointers_[value], program_.values[value].bytes());
  }
  return not_finite_;
}

}  // namespace twopass::planning
