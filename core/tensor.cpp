#include <twopass/core/tensor.h>

#include <fmt/format.h>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/core/parameter_reads.h>

namespace twopass {
namespace {

thread_local constinit bool recording_on = true;

// A node with the value of another: memory is shared, a small value is copied.
Node* same_value(const Node& of, ArgumentsPointer arguments, std::uint8_t flags) {
  Node* node = Node::make(nullptr, std::move(arguments), of.shape, of.dtype, flags, 0);
  node->buffer = of.buffer;
  node->small = of.small;
  node->data = of.buffer ? of.data : reinterpret_cast<std::byte*>(&node->small);
  return node;
}

void write(std::string& text, const Tensor& x, int axis, std::int64_t& index) {
  if (axis == x.rank()) {
    switch (x.dtype()) {
      case DType::f32:
        text += fmt::format("{}", x.data<float>()[index]);
        break;
      case DType::f64:
        text += fmt::format("{}", x.data<double>()[index]);
        break;
      case DType::i64:
        text += fmt::format("{}", x.data<std::int64_t>()[index]);
        break;
      case DType::boolean:
        text += x.data<bool>()[index] ? "true" : "false";
        break;
    }
    ++index;
    return;
  }
  constexpr std::int64_t kShown = 8;
  const std::int64_t size = x.shape()[axis];
  std::int64_t stride = 1;
  for (int inner = axis + 1; inner < x.rank(); ++inner) stride *= x.shape()[inner];
  const std::string gap = axis + 1 < x.rank() ? ",\n" + std::string(static_cast<std::size_t>(axis) + 1, ' ') : ", ";
  text += '[';
  for (std::int64_t k = 0; k < size; ++k) {
    if (k) text += gap;
    if (size > 2 * kShown && k == kShown) {
      text += "…";
      index += (size - 2 * kShown) * stride;
      k = size - kShown - 1;
      continue;
    }
    write(text, x, axis + 1, index);
  }
  text += ']';
}

}  // namespace

bool recording() { return recording_on; }
RecordingScope::RecordingScope(bool on) : before_(std::exchange(recording_on, on)) {}
RecordingScope::~RecordingScope() { recording_on = before_; }

void Tensor::refuse_undefined() {
  throw Error(
      "an undefined tensor was used: it was never given a value, or moved from (as backward(std::move(y)) does)");
}

std::string Tensor::name() const {
  const LeafArguments* leaf = node().leaf();
  return leaf ? leaf->name : "";
}

const std::byte* Tensor::checked_data(DType wanted) const {
  const Node& of = node();
  if (of.is(Node::kSymbol))
    throw Error(fmt::format(
        "a symbol of shape {} has no elements: graphs, plans and the shapes of layers are made without "
        "values, and what reads them cannot be part of these; eagerly() lets it run within a plan, and sizes "
        "are in .shape()",
        of.shape.text()));
  if (of.dtype != wanted)
    throw Error(fmt::format("the elements of a tensor of {} were asked for as {}", name_of(of.dtype), name_of(wanted)));
  return of.data;
}

void Tensor::check_item() const {
  if (elements() != 1)
    throw Error(fmt::format("item() of a tensor of shape {}: it has {} elements, not one", shape().text(), elements()));
}

void Tensor::check_index(std::int64_t index) const {
  if (index < 0 || index >= elements())
    throw Error(fmt::format("element {} of a tensor of {} does not exist", index, counted(elements(), "element")));
}

std::string Tensor::text() const {
  if (symbolic()) return fmt::format("symbol {} of shape {}, {}", name(), shape().text(), name_of(dtype()));
  std::string text;
  std::int64_t index = 0;
  if (elements() == 0) return fmt::format("[] of shape {}", shape().text());
  write(text, *this, 0, index);
  return text;
}

Tensor uninitialised(const Shape& shape, DType dtype) {
  Tensor made(Node::make(nullptr, {}, shape, dtype, 0, 0));
  made.node().allocate_value();
  return made;
}

Tensor variable(const Tensor& value, const std::string& name) {
  if (!is_floating(value.dtype()))
    throw Error(fmt::format("variable({}): only f32 and f64 have gradients, not {}", value.shape().text(),
                            name_of(value.dtype())));
  if (value.symbolic())
    throw Error(
        "variable of a symbol: it has no value; what a plan is given is recorded already, so that "
        "gradients(y, {x}) and backward(y)[x] take its inputs as they are");
  Node* node = same_value(value.node(), ArgumentsPointer(new LeafArguments(name, 0)), Node::kRecorded | Node::kLeaf);
  node->number = Node::next_number(0);
  return Tensor(node);
}

Tensor symbol(const Shape& shape, DType dtype, const std::string& name) {
  const auto flags =
      static_cast<std::uint8_t>(Node::kLeaf | Node::kSymbol | (is_floating(dtype) ? Node::kRecorded : 0));
  Node* node = Node::make(nullptr, ArgumentsPointer(new LeafArguments(name, 0)), shape, dtype, flags, 0);
  node->number = Node::next_number(0);
  return Tensor(node);
}

Tensor detach(const Tensor& x) {
  if (x.symbolic()) return detached_symbol(x);
  if (!x.recorded()) return x;
  Node* node = same_value(x.node(), {}, 0);
  node->number = Node::next_number(x.node().number);  // which tells in which layer the record was cut
  return Tensor(node);
}

namespace literal {

void check_count(std::size_t count, const Shape& shape) {
  if (static_cast<std::int64_t>(count) != shape.elements())
    throw Error(fmt::format("a tensor of shape {} has {}, but {} given", shape.text(),
                            counted(shape.elements(), "element"),
                            count == 1 ? "1 value is" : fmt::format("{} values are", count)));
}

void refuse_ragged(std::size_t axis, std::size_t expected, std::size_t found) {
  throw Error(fmt::format("ragged literal: a list on axis {} has {} where the first has {}", axis,
                          counted(found, "item"), expected));
}

}  // namespace literal
}  // namespace twopass
