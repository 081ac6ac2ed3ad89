#include <twopass/graph/plan/layout.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

namespace twopass::planning {
namespace {

constexpr std::int64_t kAlign = 64;
constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();

std::int64_t aligned(std::int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

// When the values of a program live, in steps.
class Lives {
 public:
  explicit Lives(const Program& program)
      : program_(program),
        made(program.values.size(), kNever),
        last(program.values.size(), 0),
        strand(program.values.size(), 0),
        torn(program.values.size(), false) {
    std::size_t strands = 0;
    for (std::size_t now = 0; now < program.moments.size(); ++now)
      for (const Strand& each : program.moments[now].strands) {
        ++strands;
        for (std::size_t step = each.first; step < each.first + each.count; ++step) {
          moment.push_back(now);
          for_calls(step, [&](std::size_t k) {
            const PlannedCall& call = program.calls[k];
            made[call.output] = step;
            meet(call.output, step, strands);
            for (const ValueId input : call.inputs) meet(program.root(input), step, strands);
          });
        }
      }
    moment.push_back(program.moments.size());  // after all steps
  }

  template <typename F>
  void for_calls(std::size_t step, const F& f) const {
    for (std::size_t k = program_.steps[step].first; k < program_.steps[step].first + program_.steps[step].count; ++k)
      f(k);
  }

 private:
  void meet(ValueId value, std::size_t step, std::size_t in) {
    const bool same_moment = strand[value] > 0 && moment[last[value]] == moment[step];
    torn[value] = same_moment && (torn[value] || strand[value] != in);
    last[value] = step;
    strand[value] = in;
  }

  const Program& program_;

 public:
  std::vector<std::size_t> made, last;
  std::vector<std::size_t> moment;  // by step
  std::vector<std::size_t> strand;  // by value: that of its last step, from 1
  std::vector<bool> torn;           // by value: whether strands that run at once read it last
};

// Whether a call reads element k of an input, and no other, for element k of its output.
bool reads_in_place(const Program& program, const PlannedCall& call, std::size_t place) {
  const ValueId read = call.inputs[place];
  if (!program.whole(read)) return false;
  if (call.op->in_place() == static_cast<int>(place)) return true;
  return call.op->elementwise() && program.spec(read).shape.elements() == program.spec(call.output).shape.elements();
}

// What dies in a step and lies in the arena, where an output of the step may take its memory: that of as many bytes,
// which is read in place alone and by no later call of the step, and the first read of these.
class Inherited {
 public:
  explicit Inherited(const Program& program) : program_(program), read_of_(program.values.size(), 0) {}

  /// `dies` says of a root whether it does so.
  template <typename F>
  void begin(const Step& step, const F& dies) {
    reads_.clear();
    free_.clear();
    next_ = 0;
    for (std::size_t k = step.first; k < step.first + step.count; ++k)
      for (std::size_t place = 0; place < program_.calls[k].inputs.size(); ++place) {
        const ValueId root = program_.root(program_.calls[k].inputs[place]);
        if (!dies(root)) continue;
        const bool known = read_of_[root] < reads_.size() && reads_[read_of_[root]].value == root;
        if (!known) {
          read_of_[root] = reads_.size();
          reads_.push_back({root, k, true});
        }
        Read& read = reads_[read_of_[root]];
        read.last = k;
        read.in_place = read.in_place && reads_in_place(program_, program_.calls[k], place);
      }
    by_last_.resize(reads_.size());
    std::iota(by_last_.begin(), by_last_.end(), std::size_t{0});
    std::stable_sort(by_last_.begin(), by_last_.end(),
                     [&](std::size_t a, std::size_t b) { return reads_[a].last < reads_[b].last; });
  }

  /// For the output of call k, of ascending k: whose memory it takes, if there is such memory.
  std::optional<ValueId> take(std::size_t k) {
    for (; next_ < by_last_.size() && reads_[by_last_[next_]].last <= k; ++next_)
      if (const Read& read = reads_[by_last_[next_]]; read.in_place)
        free_[program_.values[read.value].bytes()].insert(by_last_[next_]);
    const auto found = free_.find(program_.values[program_.calls[k].output].bytes());
    if (found == free_.end() || found->second.empty()) return std::nullopt;
    const ValueId value = reads_[*found->second.begin()].value;
    found->second.erase(found->second.begin());
    return value;
  }

 private:
  struct Read {
    ValueId value;
    std::size_t last;  // call
    bool in_place;     // all of them
  };
  const Program& program_;
  std::vector<Read> reads_;           // of this step, in the order of the first
  std::vector<std::size_t> read_of_;  // by value: where it is among them
  std::vector<std::size_t> by_last_;
  std::size_t next_ = 0;                                // of these
  std::map<std::int64_t, std::set<std::size_t>> free_;  // by bytes: which of the reads
};

// In the order of time, each in the smallest gap that is free then: for so many intervals that comparing all with all
// would take long.
std::int64_t place_by_time(std::vector<Interval>& intervals) {
  std::vector<std::size_t> begin(intervals.size()), end;
  std::iota(begin.begin(), begin.end(), std::size_t{0});
  end = begin;
  std::stable_sort(begin.begin(), begin.end(), [&](auto a, auto b) { return intervals[a].from < intervals[b].from; });
  std::stable_sort(end.begin(), end.end(), [&](auto a, auto b) { return intervals[a].to < intervals[b].to; });
  std::map<std::int64_t, std::int64_t> gaps;                // offset -> bytes
  std::set<std::pair<std::int64_t, std::int64_t>> by_size;  // bytes, offset
  std::int64_t total = 0;
  const auto add_gap = [&](std::int64_t offset, std::int64_t bytes) {
    gaps[offset] = bytes;
    by_size.emplace(bytes, offset);
  };
  const auto take_gap = [&](std::map<std::int64_t, std::int64_t>::iterator gap) {
    by_size.erase({gap->second, gap->first});
    return gaps.erase(gap);
  };
  const auto release = [&](const Interval& interval) {
    std::int64_t offset = interval.offset, bytes = aligned(interval.bytes);
    auto after = gaps.lower_bound(offset);
    if (after != gaps.end() && after->first == offset + bytes) {
      bytes += after->second;
      after = take_gap(after);
    }
    if (after != gaps.begin())
      if (const auto before = std::prev(after); before->first + before->second == offset) {
        offset = before->first;
        bytes += before->second;
        take_gap(before);
      }
    add_gap(offset, bytes);
  };
  std::size_t released = 0;
  for (const std::size_t index : begin) {
    Interval& interval = intervals[index];
    for (; released < end.size() && intervals[end[released]].to < interval.from; ++released)
      release(intervals[end[released]]);
    const std::int64_t size = aligned(interval.bytes);
    const auto fit = by_size.lower_bound({size, 0});
    if (fit == by_size.end()) {
      interval.offset = total;
      total += size;
      continue;
    }
    const auto [bytes, offset] = *fit;
    take_gap(gaps.find(offset));
    interval.offset = offset;
    if (bytes > size) add_gap(offset + size, bytes - size);
  }
  return total;
}

}  // namespace

std::int64_t place_intervals(std::vector<Interval>& intervals) {
  constexpr std::size_t kMany = 4096;
  if (intervals.size() > kMany) return place_by_time(intervals);
  // Greedy by size (Pisarchyk and Lee, 2020): the largest first, each in the lowest gap that is free while it lives.
  std::vector<std::size_t> order(intervals.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return intervals[a].bytes > intervals[b].bytes; });
  std::vector<std::size_t> placed;  // by offset
  std::int64_t total = 0;
  for (const std::size_t index : order) {
    Interval& interval = intervals[index];
    const std::int64_t size = aligned(interval.bytes);
    std::int64_t offset = 0;
    for (const std::size_t other : placed) {
      const Interval& there = intervals[other];
      if (there.to < interval.from || interval.to < there.from) continue;
      if (offset + size <= there.offset) break;
      offset = std::max(offset, there.offset + aligned(there.bytes));
    }
    interval.offset = offset;
    const auto after = std::upper_bound(placed.begin(), placed.end(), offset, [&](std::int64_t at, std::size_t other) {
      return at < intervals[other].offset;
    });
    placed.insert(after, index);
    total = std::max(total, offset + size);
  }
  return total;
}

std::int64_t most_live_bytes(const std::vector<Interval>& intervals) {
  std::size_t end = 0;
  for (const Interval& each : intervals) end = std::max(end, each.to + 1);
  std::vector<std::int64_t> change(end + 1, 0);
  for (const Interval& each : intervals) {
    change[each.from] += each.bytes;
    change[each.to + 1] -= each.bytes;
  }
  std::int64_t live = 0, most = 0;
  for (const std::int64_t each : change) most = std::max(most, live += each);
  return most;
}

Layout lay_out(const Program& program, bool share) {
  Layout layout;
  layout.places.resize(program.values.size());
  Lives lives(program);
  // What is asked for is made where it is wanted; of what is asked for in part, that part is copied at the end.
  const auto want = [&](ValueId value) {
    const ValueId root = program.root(value);
    if (lives.made[root] == kNever) return;
    if (program.whole(value))
      layout.places[root].kind = Place::Kind::outside;
    else
      lives.last[root] = program.steps.size();
  };
  for (const ValueId output : program.outputs) want(output);
  for (const Program::Update& update : program.updates) want(update.value);
  for (ValueId id = 0; id < program.values.size(); ++id)
    if (program.values[id].kind != Value::Kind::computed && program.values[id].kind != Value::Kind::view)
      layout.places[id].kind = Place::Kind::outside;

  Inherited inherited(program);
  std::vector<Interval> intervals;     // in moments
  std::vector<std::size_t> last_step;  // by interval: that of the value that lies there now
  std::vector<std::size_t> interval_of(program.values.size(), kNever);
  for (std::size_t index = 0; index < program.steps.size(); ++index) {
    const Step& step = program.steps[index];
    inherited.begin(step, [&](ValueId root) {
      const std::size_t taken = interval_of[root];
      return taken != kNever && last_step[taken] == index && !lives.torn[root];
    });
    lives.for_calls(index, [&](std::size_t k) {
      const ValueId output = program.calls[k].output;
      if (layout.places[output].kind == Place::Kind::outside) return;
      if (share && step.rows && lives.last[output] == index) {
        layout.places[output].kind = Place::Kind::tile;
        return;
      }
      const auto from = share ? inherited.take(k) : std::nullopt;
      if (from) {
        interval_of[output] = interval_of[*from];
      } else {
        interval_of[output] = intervals.size();
        intervals.push_back({program.values[output].bytes(), share ? lives.moment[index] : 0, 0});
        last_step.push_back(0);
      }
      last_step[interval_of[output]] = lives.last[output];
      intervals[interval_of[output]].to = share ? lives.moment[lives.last[output]] : program.moments.size();
    });
  }
  layout.arena_bytes = place_intervals(intervals);
  layout.lower_bound = most_live_bytes(intervals);
  for (ValueId id = 0; id < program.values.size(); ++id)
    if (interval_of[id] != kNever) layout.places[id] = {Place::Kind::arena, intervals[interval_of[id]].offset};
  for (ValueId id = 0; id < program.values.size(); ++id)
    if (program.values[id].kind == Value::Kind::view) layout.places[id] = layout.places[program.root(id)];
  return layout;
}

}  // namespace twopass::planning
