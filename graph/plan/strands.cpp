#include <algorithm>
#include <numeric>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include <twopass/graph/plan/passes.h>

namespace twopass::planning {
namespace {

// What a step costs on one thread, in nanoseconds, roughly: for comparing steps with one another and with what it takes
// to share them.
constexpr double kCall = 100, kWorkEach = 1.0 / 80, kByteEach = 1.0 / 32;
constexpr double kShort = 1e3;    // less by itself, with all that follows from it alone, begins no strand
constexpr double kWorth = 3e3;    // of all strands but the longest: sharing costs 300 with threads that look for work
constexpr double kWaking = 30e3;  // of what is saved, for which threads that sleep are woken
// A byte that another core's cache holds, where the two share none: 4 a nanosecond. (Blocks x + relu(x W1) W2 of width
// 64 and batch 64 to 512, both gradients of a layer at once: a fifth faster where cores share a cache, a fifth to a
// half slower where they do not. Eight branches gain a quarter to a half.)
constexpr double kMoved = 1.0 / 4;
constexpr double kSerial = 40e3;  // between moments, after which threads have gone to sleep

// More than this is cut into parts that run on all threads by itself.
constexpr double kMostWork = 8 << 20;
constexpr std::int64_t kMostBytes = 1 << 20;
// What a moment's strands make, as it lives at once, stays in a second-level cache; what they begin with is a quarter,
// so that they get somewhere.
constexpr std::int64_t kMostMade = 1 << 20;

struct Growing {
  std::vector<std::size_t> steps;
  double cost = 0, saved = 0;
  std::set<std::size_t> next = {};  // what has all it reads from here and from earlier moments
};

// Takes the steps in their order. Where several that are ready are small, each of them grows into a strand: with steps
// that read nothing unfinished but what that strand makes, as long as strands stay about as long as one another.
class Weaving {
 public:
  explicit Weaving(Program& program)
      : program_(program), readers_(program.steps.size()), inputs_(program.steps.size()) {
    std::vector<std::size_t> maker(program.values.size(), kNone);
    passed_on_.assign(program.values.size(), false);
    for (std::size_t step = 0; step < program.steps.size(); ++step) {
      std::vector<std::size_t>& inputs = inputs_[step];
      for_calls(step, [&](const PlannedCall& call) {
        for (const ValueId input : call.inputs)
          if (const std::size_t from = maker[program.root(input)]; from != kNone && from != step) {
            inputs.push_back(from);
            passed_on_[program.root(input)] = true;
          }
      });
      for_calls(step, [&](const PlannedCall& call) { maker[call.output] = step; });
      std::sort(inputs.begin(), inputs.end());
      inputs.erase(std::unique(inputs.begin(), inputs.end()), inputs.end());
      for (const std::size_t from : inputs) readers_[from].push_back(step);
    }
    for (const ValueId output : program.outputs) passed_on_[program.root(output)] = false;
    for (const Program::Update& update : program.updates) passed_on_[program.root(update.value)] = false;
    for (std::size_t step = 0; step < program.steps.size(); ++step) measure(step);
    touched_.resize(program.values.size());
    stands_for_.resize(program.values.size());
    std::iota(stands_for_.begin(), stands_for_.end(), ValueId{0});
    std::unordered_map<std::uint64_t, ValueId> parameters;
    for (ValueId id = 0; id < program.values.size(); ++id)
      if (program.values[id].kind == Value::Kind::parameter) parameters.emplace(program.values[id].parameter.id(), id);
    for (const Program::Update& update : program.updates)
      if (const auto found = parameters.find(update.parameter.id()); found != parameters.end())
        stands_for_[program.root(update.value)] = found->second;
    follow_ = cost_;
    for (std::size_t step = program.steps.size(); step-- > 0;)
      if (readers_[step].size() == 1 && inputs_[readers_[step][0]].size() == 1)
        follow_[step] += follow_[readers_[step][0]];
  }

  void run() {
    missing_.resize(inputs_.size());
    owner_.assign(inputs_.size(), kNone);
    for (std::size_t step = 0; step < inputs_.size(); ++step)
      if ((missing_[step] = inputs_[step].size()) == 0) ready_.insert(step);
    while (!ready_.empty()) {
      std::vector<Growing> strands = grown_from_ready();
      if (strands.empty()) strands.push_back({.steps = {*ready_.begin()}, .cost = cost_[*ready_.begin()]});
      finish(strands);
    }
    wake();
    reorder();
  }

 private:
  static constexpr std::size_t kNone = SIZE_MAX;
  static constexpr std::size_t kLooked = 256;  // so that a graph of a hundred thousand branches takes no time squared

  template <typename F>
  void for_calls(std::size_t step, const F& f) const {
    const Step& calls = program_.steps[step];
    for (std::size_t k = calls.first; k < calls.first + calls.count; ++k) f(program_.calls[k]);
  }

  template <typename F>
  void for_values(std::size_t step, const F& f) const {
    for_calls(step, [&](const PlannedCall& call) {
      for (const ValueId input : call.inputs) f(program_.root(input));
      f(call.output);
    });
  }

  void measure(std::size_t step) {
    double work = 0;
    std::int64_t bytes = 0, made = 0;
    for_calls(step, [&](const PlannedCall& call) {
      const auto specs = program_.specs(call);
      work += call.op->work(call.arguments.get(), Specs(specs));
      for (const ValueId input : call.inputs) bytes += program_.values[input].bytes();
      bytes += program_.values[call.output].bytes();
      if (passed_on_[call.output]) made += program_.values[call.output].bytes();
    });
    cost_.push_back(kCall + std::max(work * kWorkEach, static_cast<double>(bytes) * kByteEach));
    made_.push_back(made);
    small_.push_back(work <= kMostWork && bytes <= kMostBytes && !program_.foreign(program_.steps[step]));
  }

  // Strands of what is ready, or none if it would not pay to run them at once.
  std::vector<Growing> grown_from_ready() {
    std::vector<Growing> strands;
    std::int64_t made = 0;
    std::size_t looked = 0;
    for (auto it = ready_.begin(); it != ready_.end() && looked < kLooked; ++it, ++looked) {
      if (small_[*it] && follow_[*it] >= kShort && made + made_[*it] <= kMostMade / 4) {
        strands.emplace_back();
        add(strands, strands.size() - 1, *it, made);
      } else if (it == ready_.begin()) {
        return {};  // first what comes first, so that calls stay near their order
      }
    }
    if (strands.size() > 1) grow(strands, made);
    double saved = 0, longest = 0;
    for (Growing& strand : strands) {
      strand.saved = std::max(0.0, strand.cost - kMoved * static_cast<double>(moved_bytes(strand)));
      saved += strand.saved;
      longest = std::max(longest, strand.saved);
    }
    if (saved - longest >= kWorth) return strands;
    for (const Growing& strand : strands)
      for (const std::size_t step : strand.steps) owner_[step] = kNone;
    return {};
  }

  // Bytes that would go from the thread that runs single steps to another or back. What strands alone touch stays with
  // the threads that run them, in this step and the next: tiles of equal length go to the same threads mostly.
  std::int64_t moved_bytes(const Growing& strand) {
    std::int64_t bytes = 0;
    ++moment_;
    for (const std::size_t step : strand.steps)
      for_values(step, [&](ValueId root) {
        Touched& touched = touched_[root];
        if (touched_[stands_for_[root]].alone && touched.counted != moment_) bytes += program_.values[root].bytes();
        touched.counted = moment_;
      });
    return bytes;
  }

  void add(std::vector<Growing>& strands, std::size_t index, std::size_t step, std::int64_t& made) {
    Growing& strand = strands[index];
    strand.steps.push_back(step);
    strand.cost += cost_[step];
    made += made_[step];
    owner_[step] = index;
    for (const std::size_t reader : readers_[step])
      if (small_[reader] && std::all_of(inputs_[reader].begin(), inputs_[reader].end(), [&](std::size_t from) {
            return owner_[from] == index || owner_[from] == kFinished;
          }))
        strand.next.insert(reader);
  }

  void grow(std::vector<Growing>& strands, std::int64_t& made) {
    double limit = 0;
    for (const Growing& strand : strands) limit = std::max(limit, strand.cost);
    for (;;) {
      std::vector<double> beyond;  // how long strands would be with their next step, where that is too long
      for (std::size_t index = 0; index < strands.size(); ++index) {
        Growing& strand = strands[index];
        while (!strand.next.empty()) {
          const std::size_t step = *strand.next.begin();
          if (made + made_[step] > kMostMade) return;
          const double cost = strand.cost + cost_[step];
          // Half of the step, or all but a little of the strand, passes while others run.
          const bool half = strand.cost + 0.5 * cost_[step] <= limit;
          if (!half && cost > 1.1 * limit) {
            beyond.push_back(cost);
            break;
          }
          strand.next.erase(step);
          add(strands, index, step, made);
          if (half) limit = std::max(limit, cost);
        }
      }
      if (beyond.size() < 2) return;  // one alone would only keep the others waiting
      std::nth_element(beyond.begin(), beyond.begin() + 1, beyond.end());
      limit = beyond[1];
    }
  }

  // Long ones first: what comes last decides how long threads wait for one another.
  void finish(std::vector<Growing>& strands) {
    std::stable_sort(strands.begin(), strands.end(), [](const auto& a, const auto& b) { return a.cost > b.cost; });
    Moment moment;
    double saved = 0, longest = 0;
    for (const Growing& strand : strands) {
      moment.strands.push_back({order_.size(), strand.steps.size()});
      saved += strand.saved;
      longest = std::max(longest, strand.saved);
      for (const std::size_t step : strand.steps) {
        if (strands.size() == 1) for_values(step, [&](ValueId root) { touched_[root].alone = true; });
        order_.push_back(step);
        owner_[step] = kFinished;
        ready_.erase(step);
      }
    }
    for (const Growing& strand : strands)
      for (const std::size_t step : strand.steps)
        for (const std::size_t reader : readers_[step])
          if (--missing_[reader] == 0 && owner_[reader] != kFinished) ready_.insert(reader);
    length_.push_back(strands[0].cost);
    saved_.push_back(saved - longest);
    program_.moments.push_back(std::move(moment));
  }

  // Threads that were woken find the work of the moments that follow soon.
  void wake() {
    double saved = 0, serial = 0;
    for (std::size_t k = program_.moments.size(); k-- > 0;) {
      if (program_.moments[k].strands.size() == 1) {
        serial += length_[k];
        continue;
      }
      saved = serial > kSerial ? saved_[k] : saved + saved_[k];
      serial = 0;
      program_.moments[k].wakes = saved >= kWaking;
    }
  }

  void reorder() {
    std::vector<PlannedCall> calls;
    std::vector<Step> steps;
    for (const std::size_t index : order_) {
      Step step = program_.steps[index];
      const std::size_t first = step.first;
      step.first = calls.size();
      for (std::size_t k = first; k < first + step.count; ++k) calls.push_back(std::move(program_.calls[k]));
      steps.push_back(step);
    }
    program_.calls = std::move(calls);
    program_.steps = std::move(steps);
  }

  static constexpr std::size_t kFinished = kNone - 1;
  struct Touched {
    bool alone = false;  // whether a step by itself has read or made it
    std::size_t counted = 0;
  };

  Program& program_;
  std::vector<std::vector<std::size_t>> readers_, inputs_;  // by step: steps, each once
  std::vector<double> cost_, follow_;                       // of a step; with the steps that follow from it alone
  std::vector<std::int64_t> made_;                          // bytes of the arena
  std::vector<bool> passed_on_;                             // by value: whether it lies there for another step
  std::vector<bool> small_;                                 // whether a step may be part of a strand
  std::vector<std::size_t> missing_;                        // steps that are yet to be run before a step
  std::vector<std::size_t> owner_;   // by step: the strand of this moment that it is in, or kFinished, or kNone
  std::vector<Touched> touched_;     // by value
  std::vector<ValueId> stands_for_;  // by value: for a parameter's new value the old one
  std::size_t moment_ = 0;
  std::set<std::size_t> ready_;
  std::vector<std::size_t> order_;
  std::vector<double> length_, saved_;  // by moment
};

}  // namespace

void find_strands(Program& program) {
  if (program.steps.empty())
    for (std::size_t k = 0; k < program.calls.size(); ++k) program.steps.push_back({k, 1});
  Weaving(program).run();
}

}  // namespace twopass::planning
