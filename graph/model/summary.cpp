// Keras's table of a model.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <unordered_map>
#include <unordered_set>

#include <twopass/graph/model/body.h>
#include <twopass/graph/model/model.h>
#include <twopass/graph/model/summary.h>

namespace twopass {
namespace {

using Row = std::vector<std::string>;

std::string size_text(std::int64_t bytes) {
  double size = static_cast<double>(bytes);
  const char* units[] = {"B", "KB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (size >= 1024 && unit < 4) size /= 1024, ++unit;
  return fmt::format("{:.2f} {}", size, units[unit]);
}

// Numbers that are held, and the memory that they take.
struct Amount {
  std::int64_t count = 0, bytes = 0;
  void add(const Shape& shape, DType dtype) {
    count += shape.elements();
    bytes += shape.elements() * static_cast<std::int64_t>(size_of(dtype));
  }
  std::string text() const { return fmt::format("{} ({})", with_commas(count), size_text(bytes)); }
};

// Characters, not bytes: names may be UTF-8.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string fitted(std::string text, std::size_t width) {
  if (width_of(text) > width) {
    while (width_of(text) > width - 1) {
      while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80) text.pop_back();
      text.pop_back();
    }
    text += "…";
  }
  return text + std::string(width - width_of(text), ' ');
}

std::string rule(const std::vector<std::size_t>& widths, const char* left, const char* line, const char* cross,
                 const char* right) {
  std::string text = left;
  for (std::size_t k = 0; k < widths.size(); ++k) {
    for (std::size_t c = 0; c < widths[k] + 2; ++c) text += line;
    text += k + 1 < widths.size() ? cross : right;
  }
  return text + "\n";
}

// A cell's words in lines of so many characters; longer words are cut.
std::vector<std::string> lines_of(const std::string& cell, std::size_t width) {
  std::vector<std::string> lines(1);
  for (std::size_t at = 0; at < cell.size();) {
    const std::size_t end = std::min(cell.find(' ', at), cell.size());
    const std::string word = cell.substr(at, end - at);
    if (lines.back().empty())
      lines.back() = word;
    else if (width_of(lines.back()) + 1 + width_of(word) <= width)
      lines.back() += ' ' + word;
    else
      lines.push_back(word);
    at = end + 1;
  }
  return lines;
}

std::string row_text(const Row& row, const std::vector<std::size_t>& widths, const char* bar) {
  std::vector<std::vector<std::string>> cells;
  std::size_t height = 1;
  for (std::size_t k = 0; k < row.size(); ++k) {
    cells.push_back(lines_of(row[k], widths[k]));
    height = std::max(height, cells[k].size());
  }
  std::string text;
  for (std::size_t line = 0; line < height; ++line) {
    text += bar;
    for (std::size_t k = 0; k < row.size(); ++k)
      text += fmt::format(" {} {}", fitted(line < cells[k].size() ? cells[k][line] : "", widths[k]), bar);
    text += "\n";
  }
  return text;
}

std::string table(const std::vector<Row>& rows, const std::vector<std::size_t>& widths) {
  std::string text =
      rule(widths, "┏", "━", "┳", "┓") + row_text(rows[0], widths, "┃") + rule(widths, "┡", "━", "╇", "┩");
  for (std::size_t k = 1; k < rows.size(); ++k) {
    if (k > 1) text += rule(widths, "├", "─", "┼", "┤");
    text += row_text(rows[k], widths, "│");
  }
  return text + rule(widths, "└", "─", "┴", "┘");
}

// A chain is shown without the column that says what is connected to what.
bool is_chain(const ModelGraph& graph) {
  for (std::size_t k = 0; k < graph.steps.size(); ++k) {
    const auto& inputs = graph.steps[k].inputs;
    if (k == 0 ? !inputs.empty() : inputs.size() != 1 || inputs[0].step != k - 1) return false;
  }
  return graph.outputs.size() == 1;
}

}  // namespace

std::string with_commas(std::int64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, ",");
  return digits;
}

std::string Model::summary_text() const {
  const ModelGraph& own = graph();
  const bool chain = is_chain(own);
  std::vector<Row> rows = {{"Layer (type)", "Output Shape", "Param #"}};
  if (!chain) rows[0].push_back("Connected to");
  // How often each layer has been called before a step: the first number in "dense[1][0]".
  std::vector<std::size_t> calls(own.steps.size(), 0);
  std::unordered_map<const Layer*, std::size_t> called;
  std::unordered_set<const Layer*> counted;
  for (std::size_t k = 0; k < own.steps.size(); ++k) {
    const ModelStep& step = own.steps[k];
    if (step.layer) calls[k] = called[step.layer.get()]++;
    if (step.kind == ModelStep::Kind::constant || step.kind == ModelStep::Kind::parameter) continue;
    std::string shapes, sources;
    for (const Spec& spec : step.outputs) shapes += (shapes.empty() ? "" : ", ") + spec.shape.text();
    std::int64_t parameters = 0;
    std::string type = step.kind == ModelStep::Kind::input ? "Input"
                       : step.kind == ModelStep::Kind::op  ? "Op"
                                                           : step.layer->type();
    if (step.layer && counted.insert(step.layer.get()).second)
      for (const Parameter& each : step.layer->parameters()) parameters += each.shape().elements();
    for (const auto& source : step.inputs) {
      const ModelStep& from = own.steps[source.step];
      if (from.kind == ModelStep::Kind::parameter) parameters += from.parameter.shape().elements();
      if (from.kind == ModelStep::Kind::constant) continue;
      sources += fmt::format("{}{}[{}][{}]", sources.empty() ? "" : ", ", from.name, calls[source.step], source.output);
    }
    if (std::find(own.unused_inputs.begin(), own.unused_inputs.end(), k) != own.unused_inputs.end())
      sources = "(unused)";
    Row row = {fmt::format("{} ({})", step.name, type), shapes, with_commas(parameters)};
    if (!chain) row.push_back(sources.empty() ? "-" : sources);
    rows.push_back(std::move(row));
  }
  const std::vector<std::size_t> widths =
      chain ? std::vector<std::size_t>{31, 24, 15} : std::vector<std::size_t>{27, 20, 12, 34};

  Amount trainable, frozen, optimizing;
  for (const Parameter& each : parameters()) (each.trainable() ? trainable : frozen).add(each.shape(), each.dtype());
  if (compiled())
    for (const Tensor& slot : optimizer().slots()) optimizing.add(slot.shape(), slot.dtype());
  const Amount total{trainable.count + frozen.count + optimizing.count,
                     trainable.bytes + frozen.bytes + optimizing.bytes};
  std::string text =
      fmt::format("Model: \"{}\"\n{} Total params: {}\n Trainable params: {}\n Non-trainable params: {}\n", name(),
                  table(rows, widths), total.text(), trainable.text(), frozen.text());
  if (optimizing.count > 0) text += fmt::format(" Optimizer params: {}\n", optimizing.text());
  return text;
}

void Model::summary() const {
  const std::string text = summary_text();
  std::fwrite(text.data(), 1, text.size(), stdout);
}

}  // namespace twopass
