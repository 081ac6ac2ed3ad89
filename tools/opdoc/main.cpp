// Prints docs/ops.md: the reference of the ops, from their records.
#include <fmt/format.h>
#include <twopass/core/error.h>
#include <twopass/core/format.h>
#include <twopass/graph/autodiff/gradcheck.h>
#include <twopass/ops/families.h>

#include <string>
#include <vector>

using namespace twopass;

namespace {

std::string one_line(const Tensor& x) {
  std::string text = x.text();
  for (char& c : text)
    if (c == '\n') c = ' ';
  return text;
}

std::string kept(Keep keep) {
  if (keep == Keep::none) return "nothing";
  if (keep == Keep::input_and_output) return "inputs and output";
  std::string text = keeps_output(keep) ? "output" : "";
  if (keep == Keep::input) return "inputs";
  for (std::size_t k = 0; k < 3; ++k)
    if (keeps_input(keep, k)) text += (text.empty() ? "" : ", ") + fmt::format("input {}", k);
  return text;
}

std::string forward_rule(const Op& op) {
  if (op.has_tangent()) return "a rule of its own";
  if (op.linear() == Linear::jointly) return "itself on the tangents: it is linear";
  if (op.linear() == Linear::each) return "itself on each tangent in turn: it is linear in each input";
  return op.elementwise() ? "its gradient, element by element" : "the transpose of its gradient";
}

// To which order the gradient agrees with numerical differentiation at the op's samples, found by trying it.
std::string checked(const Op& op) {
  if (op.samples().empty()) return "not checked, as what it says is no derivative";
  const GradcheckReport report = gradcheck(op);
  if (!report.ok()) throw Error(fmt::format("the gradient of {} is wrong:\n{}", op.name(), report.text()));
  for (const std::string& note : report.notes())  // "sample 0, OP has no gradient: derivatives above order 1 …"
    if (const auto end = note.find(": derivatives above order 1 do not exist"); end != std::string::npos)
      return "checked to first order, as " + note.substr(note.find(", ") + 2, end - note.find(", ") - 2);
  return "checked to second order";
}

void print_op(const Op& op) {
  fmt::print("\n### {}\n\n{}\n\n", op.name(), op.doc());
  fmt::print("- gradient: {}\n",
             op.differentiable() ? fmt::format("yes, {}; keeps {}", checked(op), kept(op.keeps())) : "none");
  if (op.differentiable()) fmt::print("- forward mode: {}\n", forward_rule(op));
  if (!op.samples().empty()) {
    const std::string arguments = text_of(op.attributes(op.samples()[0].arguments.get()));
    if (!arguments.empty()) fmt::print("- arguments, as in a sample: `{}`\n", arguments);
  }
  if (!op.examples().empty()) {
    const Op::Example& example = op.examples()[0];
    std::string inputs;
    for (const auto& input : example.inputs) inputs += (inputs.empty() ? "" : ", ") + one_line(input.tensor());
    const std::string arguments = text_of(op.attributes(example.arguments.get()));
    fmt::print("- example: `{}({}{}{})` is `{}`\n", op.name(), inputs, inputs.empty() || arguments.empty() ? "" : ", ",
               arguments, one_line(example.output.tensor()));
  }
  for (const Op::Refusal& refusal : op.refusals()) fmt::print("- refuses: “{}”\n", refusal.message);
}

}  // namespace

int main() {
  fmt::print(
      "# Ops\n\nMade from the records by `twopass_opdoc`; do not edit. Each is checked against its examples and for "
      "what "
      "it\nrefuses, and its gradient, where it has one, against numerical differentiation, to the order that stands "
      "beside it.\nFunctions, which are made of them, are in [functions.md](functions.md).\n");
  const std::pair<const char*, std::vector<const Op*>> families[] = {{"Creation", creation_ops()},
                                                                     {"Elementwise", elementwise_ops()},
                                                                     {"Reductions", reduction_ops()},
                                                                     {"Shapes", shaping_ops()},
                                                                     {"Indexing", indexing_ops()},
                                                                     {"Products", product_ops()},
                                                                     {"Convolution and pooling", convolution_ops()},
                                                                     {"Linear algebra", linear_algebra_ops()},
                                                                     {"Normalisation", normalization_ops()},
                                                                     {"Softmax and cross-entropy", softmax_ops()},
                                                                     {"Random", random_ops()}};
  for (const auto& [title, ops] : families) {
    fmt::print("\n## {}\n", title);
    for (const Op* op : ops) print_op(*op);
  }
}
