#include <twopass/core/parameter.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/parameter_reads.h>
#include <twopass/core/parameter_view.h>
#include <twopass/core/random.h>

namespace twopass {
namespace {

std::atomic<std::uint64_t> last_id{0};

}  // namespace

thread_local std::vector<std::pair<std::uint64_t, Tensor>> substituted;
thread_local constinit ParameterView parameter_view;

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
  Tensor drawn() const {
    Random random(seed);
    const Tensor first = initializer(shape, dtype, random);
    check(first);
    return first;
  }
  const Tensor& current() {
    if (!leaf.defined()) put(drawn());
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
  Cell& own = cell();
  for (std::size_t k = substituted.size(); k-- > parameter_view.substitutions;)
    if (substituted[k].first == own.id) {
      ParameterReads::note(*this, substituted[k].second, k);
      return substituted[k].second;
    }
  const Tensor found = [&] {
    if (parameter_view.lifting) return parameter_view.lifting->of(*this).now;
    if (parameter_view.sandbox) return parameter_view.sandbox->of(*this, "read").now;
    const std::lock_guard lock(own.mutex);
    if (parameter_view.undrawn > 0 && !own.leaf.defined()) return symbol(own.shape, own.dtype, own.name);
    return own.current();
  }();
  const Tensor given = own.trainable || found.symbolic() ? found : detach(found);
  ParameterReads::note(*this, given, kNotSubstituted);
  return given;
}

Tensor Parameter::value() const {
  Cell& own = cell();
  if (parameter_view.lifting) {
    LiftScope::Lifted& lifted = parameter_view.lifting->of(*this);
    ParameterReads::note(*this, lifted.now, kNotSubstituted);
    if (!lifted.value.defined())
      lifted.value = lifted.now.recorded() ? parameter_view.lifting->leaf_for(lifted.now, *this, false) : lifted.now;
    return lifted.value;
  }
  const Tensor found = [&] {
    if (parameter_view.sandbox) return parameter_view.sandbox->of(*this, "read").now;
    const std::lock_guard lock(own.mutex);
    if (parameter_view.undrawn > 0 && !own.leaf.defined()) return symbol(own.shape, own.dtype, own.name);
    return own.current();
  }();
  ParameterReads::note(*this, own.trainable ? found : detach(found), kNotSubstituted);
  return detach(found);
}

void Parameter::set(const Tensor& value) const { set_all({*this}, {value}); }

namespace {

// What a check in f64 made of a state that it reads in f64, in the state's own dtype.
Tensor as_held(const Tensor& value, DType dtype, std::uint64_t parameter) {
  if (parameter_view.lifting || !value.defined() || value.symbolic() || value.dtype() == dtype ||
      !is_floating(value.dtype()) || !is_floating(dtype))
    return value;
  for (std::size_t k = substituted.size(); k-- > parameter_view.substitutions;)
    if (substituted[k].first == parameter && substituted[k].second.dtype() == value.dtype())
      return dispatch_floating(value.dtype(),
                               [&]<typename T>() { return from_values(value.values<T>(), value.shape(), dtype); });
  return value;
}

}  // namespace

void Parameter::set_all(const Parameters& parameters, const Tensors& given) {
  Tensors values, leaves;
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    Cell& own = parameters[k].cell();
    values.push_back(as_held(given[k], own.dtype, own.id));
    own.check(values[k], parameter_view.lifting != nullptr);
    if (parameter_view.sandbox) parameter_view.sandbox->of(parameters[k], "set");
    leaves.push_back(parameter_view.lifting ? parameter_view.lifting->leaf_for(values[k], parameters[k], own.trainable)
                                            : own.leaf_of(values[k]));
  }
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    if (parameter_view.lifting) {
      LiftScope::Lifted& lifted = parameter_view.lifting->of(parameters[k]);
      parameter_view.lifting->replaced_.push_back(lifted);
      lifted = {lifted.parameter, lifted.symbol, values[k], leaves[k], {}};
      continue;
    }
    if (parameter_view.sandbox) {
      ParameterSandbox::Held& held = parameter_view.sandbox->of(parameters[k], "set");
      held.now = std::move(leaves[k]);
      held.set = true;
      continue;
    }
    Cell& own = parameters[k].cell();
    const std::lock_guard lock(own.mutex);
    own.leaf = std::move(leaves[k]);
  }
}

Tensors Parameter::held(const Parameters& parameters) {
  Tensors held;
  held.reserve(parameters.size());
  for (const Parameter& each : parameters) {
    if (parameter_view.lifting || parameter_view.sandbox) {
      held.push_back(each.value());
      continue;
    }
    Cell& own = each.cell();
    const std::lock_guard lock(own.mutex);
    held.push_back(own.current());
  }
  return held;
}

void Parameter::put_back(const Parameters& parameters, const Tensors& held) noexcept {
  if (parameter_view.lifting || parameter_view.sandbox) {
    try {
      set_all(parameters, held);
    } catch (const std::exception&) {
      // What these scopes hold is given up with them.
    }
    return;
  }
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    Cell& own = *parameters[k].cell_;
    const std::lock_guard lock(own.mutex);
    own.leaf = held[k];
  }
}

void Parameter::exchange_all(const Parameters& parameters, std::vector<Buffer>& memory) {
  // The value of a cell that alone holds it changes its memory; another gets a leaf of its own, made before any
  // changes.
  Tensors leaves;  // as many as parameters, once there is one
  if (parameter_view.sandbox) {
    leaves.resize(parameters.size());
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      leaves[k] = uninitialised(parameters[k].shape(), parameters[k].dtype());
      std::copy_n(memory[k].data(), leaves[k].node().bytes(), leaves[k].node().data);
    }
    return set_all(parameters, leaves);
  }
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    Cell& own = parameters[k].cell();
    const std::lock_guard lock(own.mutex);
    if (own.leaf.defined() && own.leaf.node().only_handle() && own.leaf.node().buffer.unique()) continue;
    const Tensor fresh = uninitialised(own.shape, own.dtype);
    std::copy_n(memory[k].data(), fresh.node().bytes(), fresh.node().data);
    leaves.resize(parameters.size());
    leaves[k] = own.leaf_of(fresh);
  }
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    Cell& own = parameters[k].cell();
    const std::lock_guard lock(own.mutex);
    if (!leaves.empty() && leaves[k].defined()) {
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

UndrawnScope::UndrawnScope() { ++parameter_view.undrawn; }
UndrawnScope::~UndrawnScope() { --parameter_view.undrawn; }

Substitution::Substitution(const Parameters& parameters, const Tensors& tensors) : before_(substituted.size()) {
  if (parameters.size() != tensors.size())
    throw Error(fmt::format("{} parameters cannot be given {} tensors", parameters.size(), tensors.size()));
  for (std::size_t k = 0; k < tensors.size(); ++k) substituted.emplace_back(parameters[k].id(), tensors[k]);
}

Substitution::~Substitution() { substituted.resize(before_); }

ParameterSandbox::ParameterSandbox() : closed_(false), before_(parameter_view) {
  parameter_view = {.sandbox = this, .substitutions = substituted.size()};
}

ParameterSandbox::ParameterSandbox(const Parameters& parameters, const Tensors& values)
    : closed_(true), before_(parameter_view) {
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const Tensor leaf = parameters[k].cell().leaf_of(values[k]);
    held_.push_back({parameters[k], leaf, leaf});
  }
  parameter_view = {.sandbox = this, .substitutions = substituted.size()};
}

ParameterSandbox::~ParameterSandbox() { parameter_view = before_; }
bool ParameterSandbox::active() { return parameter_view.sandbox != nullptr; }

ParameterSandbox::Held& ParameterSandbox::of(const Parameter& parameter, const char* what) {
  for (Held& each : held_)
    if (each.parameter == parameter) return each;
  Parameter::Cell& cell = parameter.cell();
  if (closed_) {
    refused_ = fmt::format("parameter \"{}\" is {}, which was not when the plan was made", cell.name, what);
    throw Error(refused_);
  }
  const Tensor leaf = [&] {
    const std::lock_guard lock(cell.mutex);
    return cell.leaf.defined() ? cell.leaf : cell.leaf_of(cell.drawn());
  }();
  held_.push_back({parameter, leaf, leaf});
  return held_.back();
}

}  // namespace twopass
