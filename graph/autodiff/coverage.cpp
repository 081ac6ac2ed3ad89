#include <twopass/graph/autodiff/coverage.h>

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <utility>

#include <twopass/graph/autodiff/coverage_log.h>
#include <twopass/graph/autodiff/walk.h>
#include <twopass/ops/op.h>

namespace twopass {
namespace {

struct Log {
  std::mutex mutex;
  std::map<const Op*, std::pair<std::int64_t, std::int64_t>> counts;
};

Log& log() {
  static auto* const only = new Log;
  return *only;
}

}  // namespace

void log_coverage(const Tensors& outputs, int order) {
  const auto nodes = nodes_behind(outputs);
  const std::lock_guard lock(log().mutex);
  for (const Node* node : nodes) {
    if (!node->op || node->is(Node::kLeaf)) continue;
    auto& [first, higher] = log().counts[node->op];
    ++(order > 1 ? higher : first);
  }
}

std::vector<OpCoverage> gradcheck_coverage() {
  std::vector<OpCoverage> table;
  const auto ops = all_ops();
  const std::lock_guard lock(log().mutex);
  for (const Op* op : ops) {
    const auto found = log().counts.find(op);
    const auto [first, higher] = found == log().counts.end() ? std::pair<std::int64_t, std::int64_t>() : found->second;
    table.push_back({.op = op->name(),
                     .first = first,
                     .higher = higher,
                     .differentiable = op->differentiable(),
                     .zero = op->name() == "stop_gradient"});
  }
  return table;
}

std::string gradcheck_coverage_text() {
  std::string text = fmt::format("{:<32} {:>12} {:>12}\n", "op", "first order", "higher order");
  for (const OpCoverage& row : gradcheck_coverage())
    text += fmt::format("{:<32} {:>12} {:>12}{}\n", row.op, row.first, row.higher,
                        !row.differentiable           ? "  has no gradient"
                        : row.zero                    ? "  derivative 0 by definition"
                        : row.first + row.higher == 0 ? "  NOT CHECKED"
                                                      : "");
  return text;
}

}  // namespace twopass
