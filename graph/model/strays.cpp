#include <twopass/graph/model/strays.h>

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <unordered_set>

#include <twopass/core/parameter_reads.h>

namespace twopass {
namespace {

using Ids = std::unordered_set<std::uint64_t>;

Ids ids_of(const Parameters& parameters) {
  Ids ids;
  for (const Parameter& each : parameters) ids.insert(each.id());
  return ids;
}

// "layer "outer/inner" (Lambda)" for the first that reads one of this name that the model does not know: a function may
// make another in each call. Empty where none does.
std::string reader_of(const ModelBody& body, const std::string& path, const Parameter& stray, const Ids& known,
                      const Tensors& inputs, const CallContext& context) {
  const ModelGraph& graph = body.graph;
  std::vector<Tensors> values(graph.steps.size());
  for (std::size_t k = 0; k < inputs.size(); ++k) values[graph.inputs[k]] = {inputs[k]};
  for (std::size_t k = 0; k < graph.steps.size(); ++k) {
    const ModelStep& step = graph.steps[k];
    if (step.kind == ModelStep::Kind::input) continue;
    const ParameterReads reads;
    values[k] = graph.run_step(k, values, context);
    if (step.kind != ModelStep::Kind::layer ||
        std::none_of(reads.parameters().begin(), reads.parameters().end(),
                     [&](const Parameter& each) { return each.name() == stray.name() && !known.contains(each.id()); }))
      continue;
    if (const auto* nested = dynamic_cast<const ModelBody*>(step.layer.get())) {
      Tensors given;
      for (const auto& source : step.inputs) given.push_back(values[source.step][source.output]);
      return reader_of(*nested, path + step.name + "/", stray, known, given, context);
    }
    return fmt::format("layer \"{}{}\" ({})", path, step.name, step.layer->type());
  }
  return {};
}

}  // namespace

Parameters outsiders_among(const Parameters& read, const Parameters& known) {
  const Ids ids = ids_of(known);
  Parameters outsiders;
  std::copy_if(read.begin(), read.end(), std::back_inserter(outsiders),
               [&](const Parameter& each) { return !ids.contains(each.id()); });
  return outsiders;
}

Parameters strays_among(const Parameters& read, const Gradients& gradients, const Parameters& known) {
  Parameters strays = outsiders_among(read, known);
  std::erase_if(strays, [&](const Parameter& each) { return !each.trainable() || !gradients.contains(each); });
  return strays;
}

Error stray_error(const ModelBody& body, const Parameter& stray, const Tensors& inputs, const CallContext& context) {
  std::string reader;
  try {
    const RecordingScope off(false);
    const ParameterSandbox trial;
    reader = reader_of(body, "", stray, ids_of(body.parameters()), inputs, context);
  } catch (const std::exception&) {
    // The parameter is told without its layer.
  }
  return Error(fmt::format(
      "{} uses {} of shape {}, which model \"{}\" does not know: it would be neither trained nor saved; make it by "
      "add_weight() in a layer class, or name it in own_parameters() there, or its layer in parts(), or freeze it by "
      "set_trainable(false)",
      reader.empty() ? "a loss" : reader,
      stray.name().empty() ? "a parameter" : fmt::format("parameter \"{}\"", stray.name()), stray.shape().text(),
      body.title()));
}

}  // namespace twopass
