#include <twopass/graph/dot/writer.h>

#include <fmt/format.h>

namespace twopass {
namespace {

constexpr std::size_t kLongest = 200;  // Graphviz fails at 16,384 characters; nobody reads more than this
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The length of the valid UTF-8 sequence at the start of `text`, or 0.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const std::size_t length = byte(0) < 0x80                      ? 1
                             : byte(0) >= 0xC2 && byte(0) < 0xE0 ? 2
                             : byte(0) >= 0xE0 && byte(0) < 0xF0 ? 3
                             : byte(0) >= 0xF0 && byte(0) < 0xF5 ? 4
                                                                 : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t k = 1; k < length; ++k)
    if ((byte(k) & 0xC0) != 0x80) return 0;
  // Overlong forms, surrogates and what lies beyond U+10FFFF.
  if (length == 3 && ((byte(0) == 0xE0 && byte(1) < 0xA0) || (byte(0) == 0xED && byte(1) >= 0xA0))) return 0;
  if (length == 4 && ((byte(0) == 0xF0 && byte(1) < 0x90) || (byte(0) == 0xF4 && byte(1) >= 0x90))) return 0;
  return length;
}

struct Colours {
  const char* fill;
  const char* line;
};

Colours colours(DotStyle style) {
  switch (style) {
    case DotStyle::input:
      return {"#e3f2e1", "#4c8c4a"};
    case DotStyle::parameter:
      return {"#fff3d6", "#c08a1e"};
    case DotStyle::constant:
      return {"#f3f3f3", "#9a9a9a"};
    case DotStyle::layer:
      return {"#e4ecf7", "#4a6fa5"};
    case DotStyle::op:
      return {"#ffffff", "#6b7a8f"};
    case DotStyle::output:
      return {"#e8e1f4", "#7353a8"};
    case DotStyle::gradient:
      return {"#fbe6e3", "#b5523f"};
    case DotStyle::guilty:
      return {"#ff6b5e", "#a3150a"};
  }
  return {"#ffffff", "#000000"};
}

}  // namespace

std::string dot_quoted(std::string_view text) {
  std::string quoted = "\"";
  std::size_t characters = 0;
  while (!text.empty()) {
    if (characters++ == kLongest) {
      quoted += "…";
      break;
    }
    const std::size_t length = sequence_length(text);
    const char c = text[0];
    if (length == 0)
      quoted += kReplacement;
    else if (length > 1)
      quoted += text.substr(0, length);
    else if (c == '"')
      quoted += "\\\"";
    else if (c == '\\')
      quoted += "\\\\";
    else if (c == '&')
      quoted += "&amp;";
    else if (c == '\n')
      quoted += "\\n";
    else if (c == '\t' || c == '\r')
      quoted += ' ';
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      quoted += kReplacement;
    else
      quoted += c;
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return quoted + '"';
}

DotWriter::DotWriter(std::string_view title) {
  body_ = fmt::format(
      "digraph {} {{\n"
      "  graph [rankdir=TB, nodesep=0.3, ranksep=0.4, fontname=\"Helvetica\", fontsize=12, pad=0.2]\n"
      "  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=11, margin=\"0.14,0.07\", "
      "penwidth=1.2]\n"
      "  edge [fontname=\"Helvetica\", fontsize=9, color=\"#5f6b7a\", fontcolor=\"#5f6b7a\", arrowsize=0.7]\n",
      dot_quoted(title));
}

std::size_t DotWriter::node(std::string_view label, DotStyle style) {
  const Colours colour = colours(style);
  body_ += fmt::format("{}n{} [label={}, fillcolor=\"{}\", color=\"{}\"{}]\n", indent(), nodes_, dot_quoted(label),
                       colour.fill, colour.line,
                       style == DotStyle::parameter || style == DotStyle::constant ? ", style=\"filled\"" : "");
  return nodes_++;
}

void DotWriter::edge(std::size_t from, std::size_t to, std::string_view label, bool dashed) {
  edges_ += fmt::format("  n{} -> n{}", from, to);
  if (!label.empty())
    edges_ += fmt::format(" [label={}{}]", dot_quoted(label), dashed ? ", style=dashed" : "");
  else if (dashed)
    edges_ += " [style=dashed]";
  edges_ += "\n";
}

void DotWriter::open(std::string_view title, DotStyle style) {
  const Colours colour = colours(style);
  body_ += fmt::format("{}subgraph \"cluster_{}\" {{\n", indent(), frames_);
  ++depth_;
  body_ += fmt::format("{}graph [style=\"rounded,filled\", fillcolor=\"{}\", color=\"{}\"]\n", indent(), colour.fill,
                       colour.line);
  // A node of its own: arrows go round nodes, but through labels of frames.
  body_ += fmt::format("{}t{} [label={}, shape=plaintext, style=\"\", fontsize=12, margin=0, width=0, height=0.2]\n",
                       indent(), frames_++, dot_quoted(title));
}

void DotWriter::close() {
  --depth_;
  body_ += indent() + "}\n";
}

std::string DotWriter::text() const { return body_ + edges_ + "}\n"; }

}  // namespace twopass
