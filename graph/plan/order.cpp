#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <span>
#include <utility>
#include <vector>

#include <twopass/graph/plan/passes.h>

namespace twopass::planning {
namespace {

// Of the calls whose inputs are there, next comes the one that leaves least memory in use, the oldest of equal ones. So
// a gradient is used up as soon as it is made, while it is in cache, and need not be kept for an update at the end.
class Schedule {
 public:
  explicit Schedule(Program& program)
      : program_(program),
        left_(program.values.size(), 0),
        left_sum_(program.values.size(), 0),
        given_(program.values.size(), false),
        missing_(program.calls.size(), 0),
        cost_(program.calls.size(), 0) {
    // What is asked for is never freed, and does not lie in the arena.
    for (const ValueId output : program.outputs) given_[program.root(output)] = true;
    for (const Program::Update& update : program.updates) given_[program.root(update.value)] = true;
    find_inputs();
    find_readers();
    for (std::size_t k = 0; k < program.calls.size(); ++k) {
      const ValueId output = program.calls[k].output;
      if (!given_[output]) cost_[k] += program.values[output].bytes();
    }
    for (ValueId root = 0; root < program.values.size(); ++root)
      if (left_[root] == 1) last_reader(root);
  }

  void run() {
    for (std::size_t k = 0; k < program_.calls.size(); ++k)
      if (missing_[k] == 0) add(k);
    std::vector<PlannedCall> ordered;
    ordered.reserve(program_.calls.size());
    while (!ready_.empty()) {
      const std::size_t next = take_best();
      for (const ValueId root : inputs_of(next)) {
        left_sum_[root] -= next;
        if (--left_[root] == 1) last_reader(root);
      }
      for (const std::size_t reader : readers_of(program_.calls[next].output))
        if (--missing_[reader] == 0) add(reader);
      ordered.push_back(std::move(program_.calls[next]));
    }
    program_.calls = std::move(ordered);
  }

 private:
  // How many of those that are ready are looked at, so that a graph of a hundred thousand branches takes no time
  // squared.
  static constexpr std::size_t kLooked = 256;

  // The values that calls read, each once.
  void find_inputs() {
    std::vector<std::size_t> met(program_.values.size(), program_.calls.size());
    for (std::size_t k = 0; k < program_.calls.size(); ++k) {
      inputs_begin_.push_back(inputs_.size());
      for (const ValueId input : program_.calls[k].inputs) {
        const ValueId root = program_.root(input);
        if (std::exchange(met[root], k) == k) continue;
        inputs_.push_back(root);
        left_sum_[root] += k;
        ++left_[root];
      }
    }
    inputs_begin_.push_back(inputs_.size());
  }
  std::span<const ValueId> inputs_of(std::size_t call) const {
    return {inputs_.data() + inputs_begin_[call], inputs_.data() + inputs_begin_[call + 1]};
  }

  void find_readers() {
    readers_begin_.assign(program_.values.size() + 1, 0);
    std::partial_sum(left_.begin(), left_.end(), readers_begin_.begin() + 1);
    std::vector<std::size_t> end = readers_begin_;
    readers_.resize(inputs_.size());
    for (std::size_t k = 0; k < program_.calls.size(); ++k)
      for (const ValueId root : inputs_of(k)) readers_[end[root]++] = k;
    for (const PlannedCall& call : program_.calls)
      for (const std::size_t reader : readers_of(call.output)) ++missing_[reader];
  }
  std::span<const std::size_t> readers_of(ValueId value) const {
    return {readers_.data() + readers_begin_[value], readers_.data() + readers_begin_[value + 1]};
  }

  // Whoever reads a value last frees it.
  void last_reader(ValueId root) {
    if (!given_[root] && program_.values[root].kind == Value::Kind::computed)
      cost_[left_sum_[root]] -= program_.values[root].bytes();
  }

  void add(std::size_t call) {
    if (ready_.size() == kLooked && call > ready_.back()) return later_.push(call);
    ready_.insert(std::upper_bound(ready_.begin(), ready_.end(), call), call);
    if (ready_.size() <= kLooked) return;
    later_.push(ready_.back());
    ready_.pop_back();
  }

  std::size_t take_best() {
    const auto best = std::min_element(ready_.begin(), ready_.end(),
                                       [&](std::size_t a, std::size_t b) { return cost_[a] < cost_[b]; });
    const std::size_t call = *best;
    ready_.erase(best);
    if (!later_.empty()) {
      ready_.push_back(later_.top());
      later_.pop();
    }
    return call;
  }

  Program& program_;
  std::vector<ValueId> inputs_;
  std::vector<std::size_t> readers_;
  std::vector<std::size_t> inputs_begin_, readers_begin_;  // by call and by value
  std::vector<std::size_t> left_;                          // calls that have yet to read a value
  std::vector<std::size_t> left_sum_;                      // of their numbers: where there is one, its own
  std::vector<bool> given_;
  std::vector<std::size_t> missing_;  // inputs of a call that are yet to be made
  std::vector<std::int64_t> cost_;    // bytes of the arena that a call takes less those that it frees
  std::vector<std::size_t> ready_;    // the oldest of the calls that can be next, in order
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> later_;  // the others
};

}  // namespace

void order_calls(Program& program) { Schedule(program).run(); }

}  // namespace twopass::planning
