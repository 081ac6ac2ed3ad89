#include <twopass/core/parameter.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/parameter_reads.h>
#include <twopass/core/random.h>

namespace twopass {
namespace {

std::atomic<std::uint64_t> last_id{0};
thread_local std::vector<std::pair<std::uint64_t, Tensor>> substituted;
thread_local int undrawn_scopes = 0;
thread_local LiftScope* lifting = nullptr;
thread_local ParameterReads* reading = nullptr;
thread_local std::uint64_t symbols_set = 0;
thread_local bool tensor_reads_only = false;

void check_allowed(const std::string& name, const char* what) {
  if (tensor_reads_only)
    throw Error(fmt::format("parameter \"{}\" {} in a function that runs eagerly within a plan", name, what));
}

}  // namespace

struct Parameter::Cell : std::enable_shared_from_this<Cell> {
  Cell(std::string a_name, Shape a_shape, DType a_dtype, Initializer first)
      : name(std::move(a_name)), shape(std::move(a_shape)), dtype(a_dtype), initializer(std::move(first)) {}

  std::string name;
  Shape shape;
  DType dtype;
  Initializer initializer;
  std::uint64_t id = ++last_id;
  std::mutex mutex{};
  Tensor leaf{};  // undefined until the first value is drawn
  std::uint64_t seed = 0;
  bool seed_fixed = false;
  bool trainable = true;

  Tensor leaf_of(const Tensor& value) {
    Tensor made = variable(detach(value), name);
    made.node().arguments = ArgumentsPointer(new LeafArguments(name, id, weak_from_this()));
    return made;
  }
  void put(const Tensor& value) { leaf = leaf_of(value); }
  void check(const Tensor& value, bool may_be_symbol = false) const {
    if (value.shape() != shape || value.dtype() != dtype || (value.symbolic() && !may_be_symbol))
      throw Error(fmt::format("parameter \"{}\" holds {} {} and cannot be set to {}{} {}", name, name_of(dtype),
                              shape.text(), value.symbolic() ? "a symbol of " : "", name_of(value.dtype()),
                              value.shape().text()));
  }
  const Tensor& current() {
    if (!leaf.defined()) {
      Random random(seed);
      const Tensor first = initializer(shape, dtype, random);
      check(first);
      put(first);
    }
    return leaf;
  }
};

Parameter::Parameter(const Tensor& value, const std::string& name)
    : cell_(std::make_shared<Cell>(name, value.shape(), value.dtype(), Initializer())) {
  cell_->put(value);
}

Parameter::Parameter(const std::string& name, const Shape& shape, DType dtype, Initializer initializer)
    : cell_(std::make_shared<Cell>(name, shape, dtype, std::move(initializer))) {
  shape.elements();  // refuses open axes
  if (!is_floating(dtype))
    throw Error(fmt::format("parameter \"{}\": only f32 and f64 have gradients, not {}", name, name_of(dtype)));
  if (!cell_->initializer) throw Error(fmt::format("parameter \"{}\" has no initializer", name));
}

Parameter Parameter::of(const Tensor& leaf) {
  Parameter found;
  if (const LeafArguments* arguments = leaf.node().leaf())
    found.cell_ = std::static_pointer_cast<Cell>(arguments->cell.lock());
  return found;
}

Parameter::Cell& Parameter::cell() const {
  if (!cell_) throw Error("an undefined parameter was used: its layer has not been built");
  return *cell_;
}

const Shape& Parameter::shape() const { return cell().shape; }
DType Parameter::dtype() const { return cell().dtype; }
const std::string& Parameter::name() const { return cell().name; }
std::uint64_t Parameter::id() const { return cell().id; }
bool Parameter::trainable() const { return cell().trainable; }
void Parameter::set_trainable(bool trainable) const { cell().trainable = trainable; }

Tensor Parameter::tensor() const {
  const Tensor found = [&] {
    Cell& own = cell();
    for (auto it = substituted.rbegin(); it != substituted.rend(); ++it)
      if (it->first == own.id) return it->second;
    if (lifting) return lifting->of(*this).now();
    const std::lock_guard lock(own.mutex);
    if (undrawn_scopes > 0 && !own.leaf.defined()) return symbol(own.shape, own.dtype, own.name);
    const Tensor& leaf = own.current();
    return own.trainable ? leaf : detach(leaf);
  }();
  if (reading) ParameterReads::note(*this, found);
  return found;
}

Tensor Parameter::value() const {
  Cell& own = cell();
  check_allowed(own.name, "is read by value()");
  if (lifting) return lifting->of(*this).now();
  const std::lock_guard lock(own.mutex);
  return detach(own.current());
}

void Parameter::set(const Tensor& value) const { set_all({*this}, {value}); }

void Parameter::set_all(const Parameters& parameters, const Tensors& values) {
  Tensors leaves;
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    Cell& own = parameters[k].cell();
    check_allowed(own.name, "is set");
    own.check(values[k], lifting != nullptr);
    leaves.push_back(lifting ? values[k] : own.leaf_of(values[k]));
  }
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    if (lifting) {
      lifting->of(parameters[k]).update = leaves[k];
      ++symbols_set;
      continue;
    }
    Cell& own = parameters[k].cell();
    const std::lock_guard lock(own.mutex);
    own.leaf = std::move(leaves[k]);
  }
}

void Parameter::exchange_all(const Parameters& parameters, std::vector<Buffer>& memory) {
  // The value of a cell that alone holds it changes its memory; another gets a leaf of its own, made before any
  // changes.
  Tensors leaves(parameters.size());
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    Cell& own = parameters[k].cell();
    const std::lock_guard lock(own.mutex);
    if (own.leaf.defined() && own.leaf.node().only_handle() && own.leaf.node().buffer.unique()) continue;
    const Tensor fresh = uninitialised(own.shape, own.dtype);
    std::copy_n(memory[k].data(), fresh.node().bytes(), fresh.node().data);
    leaves[k] = own.leaf_of(fresh);
  }
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    Cell& own = parameters[k].cell();
    const std::lock_guard lock(own.mutex);
    if (leaves[k].defined()) {
      own.leaf = std::move(leaves[k]);
      memory[k].reset();
      continue;
    }
    Node& node = own.leaf.node();
    std::swap(node.buffer, memory[k]);
    node.data = node.buffer.data();
  }
}

void Parameter::seed(std::uint64_t seed, bool fixed) const {
  Cell& own = cell();
  const std::lock_guard lock(own.mutex);
  if (own.leaf.defined() || own.seed_fixed) return;
  own.seed = seed;
  own.seed_fixed = fixed;
}

UndrawnScope::UndrawnScope() { ++undrawn_scopes; }
UndrawnScope::~UndrawnScope() { --undrawn_scopes; }

LiftScope::LiftScope() {
  if (lifting) throw Error("parameters are lifted already: a function cannot be traced while another is");
  lifting = this;
}
LiftScope::~LiftScope() { lifting = nullptr; }
bool LiftScope::active() { return lifting != nullptr; }

LiftScope::Lifted& LiftScope::of(const Parameter& parameter) {
  const auto [known, fresh] = places_.emplace(parameter.id(), lifted_.size());
  if (fresh) {
    const Parameter::Cell& cell = parameter.cell();
    const auto flags = static_cast<std::uint8_t>(Node::kLeaf | Node::kSymbol | (cell.trainable ? Node::kRecorded : 0));
    Node* node = Node::make(nullptr, ArgumentsPointer(new LeafArguments(cell.name, cell.id, parameter.cell_)),
                            cell.shape, cell.dtype, flags, 0);
    node->number = Node::next_number(0);
    lifted_.push_back({parameter, Tensor(node), {}});
  }
  return lifted_[known->second];
}

Substitution::Substitution(const Parameters& parameters, const Tensors& tensors) : before_(substituted.size()) {
  if (parameters.size() != tensors.size())
    throw Error(fmt::format("{} parameters cannot be given {} tensors", parameters.size(), tensors.size()));
  for (std::size_t k = 0; k < tensors.size(); ++k) substituted.emplace_back(parameters[k].id(), tensors[k]);
}

Substitution::~Substitution() { substituted.resize(before_); }

ParameterReads::ParameterReads() : before_(reading) { reading = this; }
ParameterReads::~ParameterReads() { reading = before_; }

void ParameterReads::note(const Parameter& parameter, const Tensor& given) {
  for (ParameterReads* scope = reading; scope; scope = scope->before_) {
    if (std::find(scope->parameters_.begin(), scope->parameters_.end(), parameter) != scope->parameters_.end())
      continue;
    scope->parameters_.push_back(parameter);
    scope->tensors_.push_back(given);
  }
}

std::uint64_t lifted_sets() { return symbols_set; }

TensorReadsScope::TensorReadsScope()
    : lifted_before_(std::exchange(lifting, nullptr)), restricted_before_(std::exchange(tensor_reads_only, true)) {}
TensorReadsScope::~TensorReadsScope() {
  lifting = lifted_before_;
  tensor_reads_only = restricted_before_;
}

}  // namespace twopass
