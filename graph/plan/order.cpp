#include <algorithm>
#include <set>
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
        readers_(program.values.size()),
        left_(program.values.size(), 0),
        missing_(program.calls.size(), 0) {
    const auto makers = program.makers();
    for (std::size_t k = 0; k < program.calls.size(); ++k)
      for (const ValueId root : inputs_of(k)) {
        ++left_[root];
        if (makers[root] == program.calls.size()) continue;
        readers_[root].push_back(k);
        ++missing_[k];
      }
    // What is asked for is never freed, and does not lie in the arena.
    given_.assign(program.values.size(), false);
    for (const ValueId output : program.outputs) given_[program.root(output)] = true;
    for (const Program::Update& update : program.updates) given_[program.root(update.value)] = true;
  }

  void run() {
    std::set<std::size_t> ready;
    for (std::size_t k = 0; k < program_.calls.size(); ++k)
      if (missing_[k] == 0) ready.insert(k);
    std::vector<PlannedCall> ordered;
    while (!ready.empty()) {
      const std::size_t next = best_of(ready);
      ready.erase(next);
      for (const ValueId root : inputs_of(next)) --left_[root];
      for (const std::size_t reader : readers_[program_.calls[next].output])
        if (--missing_[reader] == 0) ready.insert(reader);
      ordered.push_back(program_.calls[next]);
    }
    program_.calls = std::move(ordered);
  }

 private:
  // The values that a call reads, each once.
  std::vector<ValueId> inputs_of(std::size_t call) const {
    std::vector<ValueId> roots;
    for (const ValueId input : program_.calls[call].inputs)
      if (const ValueId root = program_.root(input); std::find(roots.begin(), roots.end(), root) == roots.end())
        roots.push_back(root);
    return roots;
  }

  // Bytes of the arena that a call takes less those that it frees.
  std::int64_t cost(std::size_t call) const {
    const ValueId output = program_.calls[call].output;
    std::int64_t bytes = given_[output] ? 0 : program_.values[output].bytes();
    for (const ValueId root : inputs_of(call))
      if (left_[root] == 1 && !given_[root] && program_.values[root].kind == Value::Kind::computed)
        bytes -= program_.values[root].bytes();
    return bytes;
  }

  std::size_t best_of(const std::set<std::size_t>& ready) const {
    constexpr std::size_t kLooked = 256;  // so that a graph of a hundred thousand branches takes no time squared
    std::size_t best = *ready.begin(), looked = 0;
    std::int64_t least = cost(best);
    for (auto it = std::next(ready.begin()); it != ready.end() && ++looked < kLooked; ++it)
      if (const std::int64_t bytes = cost(*it); bytes < least) {
        least = bytes;
        best = *it;
      }
    return best;
  }

  Program& program_;
  std::vector<std::vector<std::size_t>> readers_;
  std::vector<std::uint32_t> left_;     // calls that have yet to read a value
  std::vector<std::uint32_t> missing_;  // inputs of a call that are yet to be made
  std::vector<bool> given_;
};

}  // namespace

void order_calls(Program& program) { Schedule(program).run(); }

}  // namespace twopass::planning
