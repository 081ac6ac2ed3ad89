#include <twopass/ops/record.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <mutex>

#include <twopass/ops/anomaly.h>
#include <twopass/ops/families.h>
#include <twopass/ops/keeping.h>
#include <twopass/ops/library_ops.h>

namespace twopass {
namespace {

std::mutex& registry_mutex() {
  static std::mutex mutex;
  return mutex;
}

std::vector<const Op*>& defined_ops() {
  static auto* const ops = new std::vector<const Op*>;
  return *ops;
}

void record_inputs(Node& node, std::span<const Tensor> inputs, Keep keep) {
  std::uint64_t largest = 0;
  const auto edges = node.edges();
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    Node& input = inputs[k].node();
    const bool keeps = keeps_input(keep, k) && !input.is(Node::kSymbol);
    if (keeps)
      input.take_handle();
    else
      input.take_reference();
    edges[k].bits = reinterpret_cast<std::uintptr_t>(&input) | static_cast<std::uintptr_t>(keeps);
    largest = std::max(largest, input.number);
  }
  node.number = Node::next_number(largest);
}

}  // namespace

Tensor Call::input(std::size_t k) const {
  Node* node = edge(k);
  if (!node->data && !node->is(Node::kSymbol))
    throw Error(fmt::format("the gradient of {} reads input {}, which its record does not keep", node_.op->name(), k));
  return Tensor(node);
}

Tensor Call::output() const {
  if (!node_.is(Node::kKeepsOutput) && !node_.is(Node::kSymbol))
    throw Error(fmt::format("the gradient of {} reads its output, which its record does not keep", node_.op->name()));
  return Tensor(&node_);
}

std::string arguments_text(const Op& op, const Arguments* arguments, std::string_view reason) {
  Attributes said = op.attributes(arguments);
  const Attributes defaults = op.defaults();
  const auto told = [&](const Attribute& value) {
    const auto* const words = std::get_if<std::string>(&value);
    return words && words->find(' ') != std::string::npos && reason.find(*words) != std::string_view::npos;
  };
  std::erase_if(said, [&](const auto& each) {
    return told(each.second) || std::find(defaults.begin(), defaults.end(), each) != defaults.end();
  });
  return text_of(said);
}

std::string call_text(const Op& op, const Arguments* arguments, const Specs& inputs, std::string_view reason) {
  std::string text = op.name() + "(";
  for (std::size_t k = 0; k < inputs.size(); ++k) text += (k ? ", " : "") + inputs.shape(k).text();
  const std::string with = arguments_text(op, arguments, reason);
  return text + (inputs.size() == 0 || with.empty() ? "" : ", ") + with + ")";
}

Tensor remember(const Op& op, ArgumentsPointer arguments, std::span<const Tensor> inputs, const Spec& spec) {
  // As with values: derivatives pass where an input lets them, and where this thread records.
  const bool recorded = recording() && is_floating(spec.dtype) &&
                        std::any_of(inputs.begin(), inputs.end(), [](const Tensor& each) { return each.recorded(); });
  const auto flags = static_cast<std::uint8_t>(Node::kSymbol | (recorded ? Node::kRecorded : 0));
  Tensor made(Node::make(&op, std::move(arguments), spec.shape, spec.dtype, flags, inputs.size()));
  record_inputs(made.node(), inputs, Keep::input);
  return made;
}

Tensor apply(const Op& op, ArgumentsPointer arguments, std::span<const Tensor> inputs) {
  bool symbolic = false;
  bool recorded = false;
  for (const Tensor& input : inputs) {
    if (!input.defined()) throw Error(op.name() + ": an input is an undefined tensor");
    symbolic = symbolic || input.symbolic();
    recorded = recorded || input.recorded();
  }
  const Arguments* args = arguments.get();
  try {
    Spec spec = op.shape(args, Specs(inputs));
    if (symbolic) return remember(op, std::move(arguments), inputs, spec);

    recorded = recorded && recording() && is_floating(spec.dtype);
    const auto flags =
        static_cast<std::uint8_t>(recorded ? Node::kRecorded | (keeps_output(op.keeps()) ? Node::kKeepsOutput : 0) : 0);
    Tensor made(Node::make(recorded ? &op : nullptr, {}, std::move(spec.shape), spec.dtype, flags,
                           recorded ? inputs.size() : 0));
    Node& node = made.node();
    const auto offset = op.aliases() ? op.alias(args, inputs[0].shape()) : std::nullopt;
    if (offset && inputs[0].node().buffer) {
      node.buffer = inputs[0].node().buffer;
      node.data = inputs[0].node().data + *offset * static_cast<std::int64_t>(size_of(spec.dtype));
    } else {
      node.allocate_value();
      if (offset) {
        std::copy_n(inputs[0].node().data + *offset * static_cast<std::int64_t>(size_of(spec.dtype)), node.bytes(),
                    node.data);
      } else {
        constexpr std::size_t kFew = 4;
        std::array<View, kFew> few;
        std::vector<View> many(inputs.size() > kFew ? inputs.size() : 0);
        View* views = many.empty() ? few.data() : many.data();
        for (std::size_t k = 0; k < inputs.size(); ++k)
          views[k] = {inputs[k].node().data, &inputs[k].shape(), inputs[k].dtype()};
        op.forward(args, Inputs(views, inputs.size()), {node.data, &node.shape, node.dtype});
      }
    }
    if (AnomalyScope::current()) check_anomaly(op, args, made, inputs);
    if (recorded) {
      node.arguments = std::move(arguments);
      record_inputs(node, inputs, keeping_everything() ? Keep::input : op.keeps());
    }
    return made;
  } catch (const Error& reason) {
    throw Error(call_text(op, arguments ? arguments.get() : args, Specs(inputs), reason.what()) + ": " + reason.what());
  }
}

const std::vector<const Op*>& library_ops() {
  static const auto& all = *new std::vector<const Op*>([] {
    std::vector<const Op*> ops;
    for (const auto& family :
         {creation_ops(), elementwise_ops(), reduction_ops(), shaping_ops(), indexing_ops(), product_ops(),
          convolution_ops(), linear_algebra_ops(), normalization_ops(), softmax_ops(), random_ops()})
      ops.insert(ops.end(), family.begin(), family.end());
    return ops;
  }());
  return all;
}

std::vector<const Op*> all_ops() {
  std::vector<const Op*> ops = library_ops();
  const std::lock_guard lock(registry_mutex());
  ops.insert(ops.end(), defined_ops().begin(), defined_ops().end());
  return ops;
}

const Op* find_op(const std::string& name) {
  for (const Op* op : all_ops())
    if (op->name() == name) return op;
  return nullptr;
}

void register_op(const Op& op) {
  if (find_op(op.name())) throw Error(fmt::format("there is an op \"{}\" already", op.name()));
  const std::lock_guard lock(registry_mutex());
  defined_ops().push_back(&op);
}

}  // namespace twopass
