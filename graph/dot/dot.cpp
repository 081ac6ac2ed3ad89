#include <twopass/graph/dot/dot.h>

#include <fmt/format.h>

#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <twopass/core/counted.h>
#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/dot/record.h>
#include <twopass/graph/dot/writer.h>
#include <twopass/graph/model/body.h>
#include <twopass/graph/model/summary.h>
#include <twopass/graph/model/trainer.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/reduction.h>

namespace twopass {
namespace {

std::string specs_text(const std::vector<Spec>& specs) {
  std::string text;
  for (const Spec& spec : specs) text += (text.empty() ? "" : ", ") + spec_text(spec.shape, spec.dtype);
  return text;
}

std::int64_t parameter_count(const Layer& layer) {
  std::int64_t count = 0;
  for (const Parameter& each : layer.parameters()) count += each.shape().elements();
  return count;
}

std::string step_label(const ModelStep& step) {
  switch (step.kind) {
    case ModelStep::Kind::input:
      return fmt::format("{}\n{}", step.name, specs_text(step.outputs));
    case ModelStep::Kind::layer: {
      const std::int64_t count = parameter_count(*step.layer);
      const std::string arguments = step.layer->type() == "Model" ? "" : text_of(step.layer->attributes());
      return fmt::format("{} · {}{}\n{}{}", step.name, step.layer->type(),
                         arguments.empty() || arguments.size() > 60 ? "" : "\n" + arguments, specs_text(step.outputs),
                         count ? "\n" + with_commas(count) + " parameters" : "");
    }
    case ModelStep::Kind::op:
      return call_label(step.name, *step.op, step.arguments.get(), specs_text(step.outputs));
    case ModelStep::Kind::constant:
      if (step.constant.rank() == 0) return fmt::format("{}", step.constant.at<double>(0));
      return "constant\n" + specs_text(step.outputs);
    case ModelStep::Kind::parameter:
      return fmt::format("{}\n{}", step.parameter.name().empty() ? "parameter" : step.parameter.name(),
                         specs_text(step.outputs));
  }
  return "";
}

DotStyle step_style(const ModelStep& step) {
  switch (step.kind) {
    case ModelStep::Kind::input:
      return DotStyle::input;
    case ModelStep::Kind::layer:
      return DotStyle::layer;
    case ModelStep::Kind::op:
      return DotStyle::op;
    case ModelStep::Kind::constant:
      return DotStyle::constant;
    case ModelStep::Kind::parameter:
      return DotStyle::parameter;
  }
  return DotStyle::op;
}

std::string layer_level(const Model& model) {
  DotWriter writer(model.name());
  const ModelGraph& graph = model.graph();
  // A layer that is called several times is one node with several arrows in.
  std::unordered_map<const Layer*, std::size_t> shared;
  std::vector<std::size_t> drawn(graph.steps.size());
  for (std::size_t k = 0; k < graph.steps.size(); ++k) {
    const ModelStep& step = graph.steps[k];
    const auto known = step.layer ? shared.find(step.layer.get()) : shared.end();
    drawn[k] = known != shared.end() ? known->second : writer.node(step_label(step), step_style(step));
    if (step.layer) shared[step.layer.get()] = drawn[k];
    for (const auto& source : step.inputs) writer.edge(drawn[source.step], drawn[k]);
  }
  for (std::size_t k = 0; k < graph.outputs.size(); ++k)
    writer.edge(drawn[graph.outputs[k].step], writer.node("output " + graph.output_names[k], DotStyle::output));
  return writer.text();
}

// The ops of each step, found by running it on symbols, in a frame a layer; models inside models are frames in frames.
void draw_ops(const ModelGraph& graph, const Tensors& inputs, DotWriter& writer, RecordDrawing& drawing,
              Tensors& outputs) {
  std::vector<Tensors> values(graph.steps.size());
  for (std::size_t k = 0; k < graph.inputs.size(); ++k) values[graph.inputs[k]] = {inputs[k]};
  for (std::size_t k = 0; k < graph.steps.size(); ++k) {
    const ModelStep& step = graph.steps[k];
    if (step.kind == ModelStep::Kind::input) continue;
    if (step.kind != ModelStep::Kind::layer) {
      values[k] = graph.run_step(k, values, {});
      if (step.kind == ModelStep::Kind::op) drawing.draw(values[k], DotStyle::op);
      continue;
    }
    writer.open(fmt::format("{} · {}", step.name, step.layer->type()), DotStyle::layer);
    if (const auto* nested = dynamic_cast<const ModelBody*>(step.layer.get())) {
      Tensors given;
      for (const auto& source : step.inputs) given.push_back(values[source.step][source.output]);
      draw_ops(nested->graph, given, writer, drawing, values[k]);
    } else {
      for (const auto& [path, parameter] : step.layer->named_parameters()) drawing.name(parameter, path);
      values[k] = graph.run_step(k, values, {});
      drawing.draw(values[k], DotStyle::op);
    }
    writer.close();
  }
  outputs.clear();
  for (const auto& source : graph.outputs) outputs.push_back(values[source.step][source.output]);
}

std::string op_level(const Model& model) {
  DotWriter writer(model.name());
  RecordDrawing drawing(writer);
  drawing.draw(model.inputs(), DotStyle::op);
  Tensors outputs;
  draw_ops(model.graph(), model.inputs(), writer, drawing, outputs);
  for (std::size_t k = 0; k < outputs.size(); ++k)
    writer.edge(drawing.at(outputs[k]), writer.node("output " + model.graph().output_names[k], DotStyle::output));
  return writer.text();
}

// A symbol that stands for data: nobody wants its gradient.
Tensor data_symbol(const Spec& spec, std::int64_t batch, const std::string& name) {
  std::vector<std::int64_t> sizes = spec.shape.sizes();
  if (!sizes.empty() && sizes[0] == kOpen) sizes[0] = batch;
  Tensor data = symbol(Shape(sizes), spec.dtype, name);
  data.node().flags &= static_cast<std::uint8_t>(~Node::kRecorded);
  return data;
}

// A part that looks at values is remembered as one call, of which nobody can show the derivatives.
void check_differentiable(const Tensor& total, const Model& model) {
  std::vector<const Node*> open{&total.node()};
  std::unordered_set<const Node*> seen{open[0]};
  while (!open.empty()) {
    const Node* const node = open.back();
    open.pop_back();
    if (const LayerCallArguments* const call = layer_call_of(*node))
      throw Error(fmt::format(
          "to_dot: the backward pass of model \"{}\" cannot be drawn, as {} layer inside another looks at values",
          model.name(), with_article(call->call->layer->type())));
    for (const Node::Edge& edge : node->edges())
      if (seen.insert(edge.node()).second) open.push_back(edge.node());
  }
}

std::string backward_level(const Model& model, std::int64_t batch) {
  if (batch < 1) throw Error(fmt::format("to_dot: the batch size must be at least 1, not {}", batch));
  DotWriter writer(model.name());
  RecordDrawing drawing(writer);
  const ModelGraph& graph = model.graph();
  Tensors inputs, leaves;
  for (std::size_t k = 0; k < graph.inputs.size(); ++k)
    inputs.push_back(data_symbol(graph.steps[graph.inputs[k]].outputs[0], batch, graph.input_names[k]));
  std::vector<std::string> names;
  for (const auto& [path, parameter] : model.named_parameters()) {
    drawing.name(parameter, path);
    if (!parameter.trainable()) continue;
    leaves.push_back(parameter.tensor());
    names.push_back(path);
  }
  if (leaves.empty())
    throw Error(fmt::format("to_dot: model \"{}\" has no parameters to differentiate for", model.name()));
  Tensors outputs = model.body().call(inputs, {});
  // Without a loss, the sum of the outputs is what is differentiated.
  Tensor total;
  if (model.compiled() && !model.body().compiled->loss.empty()) {
    const Trainer trainer(model.body(), "to_dot");
    const std::vector<Spec> specs = trainer.target_specs(outputs);
    Tensors targets;
    for (std::size_t k = 0; k < specs.size(); ++k)
      targets.push_back(data_symbol(specs[k], batch, graph.output_names[k] + " targets"));
    total = trainer.losses(outputs, {{}, targets, {}}).total;
  } else {
    for (const Tensor& output : outputs) total = total.defined() ? total + sum(output) : sum(output);
  }
  check_differentiable(total, model);
  writer.open("forward", DotStyle::layer);
  drawing.draw({total}, DotStyle::op);
  writer.edge(drawing.at(total), writer.node("loss", DotStyle::output));
  writer.close();
  const Tensors found = gradients(total, leaves, {.record = true});
  writer.open("backward", DotStyle::gradient);
  drawing.draw(found, DotStyle::op, true);
  for (std::size_t k = 0; k < found.size(); ++k)
    writer.edge(
        drawing.at(found[k]),
        writer.node("d loss / d " + names[k] + "\n" + spec_text(found[k].shape(), found[k].dtype()), DotStyle::output));
  writer.close();
  return writer.text();
}

}  // namespace

std::string to_dot(const Model& model, const DotOptions& options) {
  switch (options.level) {
    case DotLevel::layer:
      return layer_level(model);
    case DotLevel::op:
      return op_level(model);
    case DotLevel::backward:
      return backward_level(model, options.batch_size);
  }
  throw Error("to_dot: there is no such level");
}

std::string to_dot(const Tensor& y) {
  DotWriter writer("recorded");
  RecordDrawing(writer).draw({y}, DotStyle::op);
  return writer.text();
}

}  // namespace twopass
