// Plan::text and Plan::profile.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include <twopass/core/counted.h>
#include <twopass/graph/plan/body.h>
#include <twopass/graph/plan/eager_calls.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/gemm.h>

namespace twopass {

using namespace planning;

namespace {

std::string scaled(double amount, const char* unit) {
  const char* prefix = "";
  for (const char* larger : {"k", "M", "G", "T"}) {
    if (amount < 1000) break;
    amount /= 1000;
    prefix = larger;
  }
  return fmt::format("{:.3g} {}{}", amount, prefix, unit);
}

// Why a call of a step runs op by op, behind "; runs eagerly: ", or nothing.
std::string eager_text(const Program& program, const Step& step) {
  const PlannedCall& call = program.calls[step.first];
  const std::string* const why = why_eagerly(*call.op, call.arguments.get());
  return why != nullptr ? "; runs eagerly: " + one_line(*why) : std::string();
}

// Without what runs eagerly, as nobody knows.
double work_of(const Program& program, const Step& step) {
  double work = 0;
  for (std::size_t k = step.first; k < step.first + step.count; ++k) {
    const auto specs = program.specs(program.calls[k]);
    const double more = program.calls[k].op->work(program.calls[k].arguments.get(), Specs(specs));
    if (std::isfinite(more)) work += more;
  }
  return work;
}

// Bytes that come from and go to memory: what stays in a block's own memory does not.
std::int64_t bytes_of(const Machine& machine, const Step& step) {
  std::int64_t bytes = 0;
  std::unordered_set<ValueId> read;
  const auto pass = [&](ValueId value) {
    if (machine.layout().places[value].kind != Place::Kind::tile) bytes += machine.program().values[value].bytes();
  };
  for (std::size_t k = step.first; k < step.first + step.count; ++k) {
    const PlannedCall& call = machine.program().calls[k];
    for (const ValueId input : call.inputs)
      if (read.insert(machine.program().root(input)).second) pass(input);
    read.insert(call.output);  // what is read of the same step's is in cache
    pass(call.output);
  }
  return bytes;
}

std::string place_text(const Place& place) {
  if (place.kind == Place::Kind::arena) return fmt::format("arena + {}", place.offset);
  return place.kind == Place::Kind::tile ? "block" : "outside";
}

std::string note_text(const Program& program, const PlannedCall& call) {
  const auto specs = program.specs(call);
  const std::string note = call.op->note(call.arguments.get(), Specs(specs));
  return note.empty() ? "" : "; " + note;
}

std::string calls_text(const Program& program, const Step& step) {
  std::string text;
  for (std::size_t k = step.first; k < step.first + step.count; ++k)
    text += (text.empty() ? "" : ", ") + program.calls[k].op->name();
  return text;
}

std::string places_text(const Program& program, const Step& step) {
  std::vector<std::string> places;
  for (std::size_t k = step.first; k < step.first + step.count; ++k)
    if (const std::string& place = program.calls[k].place;
        !place.empty() && std::find(places.begin(), places.end(), place) == places.end())
      places.push_back(place);
  return one_line(fmt::format("{}", fmt::join(places, ", ")));
}

}  // namespace

std::string Plan::text() const { return checked_body().text(true, &checked_body().machine); }

std::string Plan::Body::text(bool turned, const Machine* coded) const {
  const PrecisionScope of_products(precision);  // notes say what kernels do in these
  const TurnScope turning(turns);
  const Program& program = machine.program();
  std::string text = fmt::format(
      "{} steps of {} calls; arena {}, {} live at most; {} with results\n", program.steps.size(), program.calls.size(),
      scaled(static_cast<double>(machine.layout().arena_bytes), "B"),
      scaled(static_cast<double>(machine.layout().lower_bound), "B"), scaled(static_cast<double>(peak_bytes()), "B"));
  text += program.sources_text("      ");
  const auto strands = program.strand_texts();
  for (std::size_t index = 0; index < program.steps.size(); ++index) {
    const Step& step = program.steps[index];
    text += fmt::format("{:4}  {}, {}", index, scaled(work_of(program, step), "FLOP"),
                        scaled(static_cast<double>(bytes_of(machine, step)), "B"));
    if (step.rows) text += fmt::format(", {} rows in blocks of {}", step.rows, machine.block_rows(index));
    if (const std::size_t count = coded ? coded->coded_calls(index) : 0)
      text += fmt::format(", {} as {}",
                          count == step.count ? "all calls" : fmt::format("{} of {} calls", count, step.count),
                          text_of(coded->processor()));
    const std::string places = places_text(program, step);
    text += strands[index] + (places.empty() ? "" : "; " + places) + eager_text(program, step) + "\n";
    for (std::size_t k = step.first; k < step.first + step.count; ++k)
      text += fmt::format("      {}  @ {}{}\n", program.text(program.calls[k]),
                          place_text(machine.layout().places[program.calls[k].output]),
                          turned ? note_text(program, program.calls[k]) : "");
  }
  return text + program.results_text("      ");
}

std::vector<Plan::StepTime> Plan::profile(int runs) const {
  const Program& program = checked_body().machine.program();
  Tensors inputs;
  for (const ValueId input : program.inputs)
    inputs.push_back(
        full(program.spec(input).shape, is_floating(program.spec(input).dtype) ? 1 : 0, program.spec(input).dtype));
  return profile(inputs, runs);
}

std::vector<Plan::StepTime> Plan::profile(const Tensors& inputs, int runs) const {
  if (LiftScope::active())
    throw Error("profile: a plan is timed in the function of another plan, where nothing runs: time it outside");
  if (runs < 1) throw Error(fmt::format("profile: the number of runs must be 1 or more, not {}", runs));
  Body& own = checked_body();
  const Body::Running running(own);
  const Program& program = own.machine.program();
  const PrecisionScope precision(own.precision);
  const TurnScope turns(own.turns);
  std::vector<std::vector<double>> times(program.steps.size());
  for (int run = 0; run < runs; ++run) {
    own.bind_inputs(inputs);
    own.bind_parameters();
    own.bind_results();
    std::vector<double> seconds(program.steps.size(), 0);
    if (!seconds.empty()) own.machine.run(seconds);
    for (std::size_t k = 0; k < seconds.size(); ++k) times[k].push_back(seconds[k]);
  }
  std::vector<StepTime> profile;
  for (std::size_t k = 0; k < program.steps.size(); ++k) {
    std::sort(times[k].begin(), times[k].end());
    profile.push_back({calls_text(program, program.steps[k]), places_text(program, program.steps[k]),
                       times[k][times[k].size() / 2] * 1e3, work_of(program, program.steps[k]),
                       bytes_of(own.machine, program.steps[k])});
  }
  return profile;
}

}  // namespace twopass
