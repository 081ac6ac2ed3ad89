#include <twopass/graph/dot/render.h>

#include <fmt/format.h>
#include <graphviz/gvc.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include <twopass/core/error.h>
#include <twopass/core/files.h>

namespace twopass {
namespace {

struct CloseGraph {
  GVC_t* context;
  void operator()(Agraph_t* graph) const {
    gvFreeLayout(context, graph);
    agclose(graph);
  }
};

// Graphviz tells what is wrong with a text through a function only.
std::string complaint;
int remember_complaint(char* text) {
  complaint += text;
  while (complaint.ends_with('\n')) complaint.pop_back();
  return 0;
}

GVC_t* context() {
  static GVC_t* const context = gvContext();
  return context;
}

constexpr int kMostNodes = 6000;

// With all care, both passes of a hundred residual blocks take minutes: edges over hundreds of ranks cost a node each.
void hurry_if_large(Agraph_t* graph) {
  if (agnnodes(graph) <= 1000) return;
  for (const auto& [name, value] :
       {std::pair("nslimit", "0.02"), {"nslimit1", "0.02"}, {"mclimit", "0.01"}, {"splines", "line"}}) {
    std::string attribute = name, hurried = value;
    if (!agattr(graph, AGRAPH, attribute.data(), nullptr)) agattr(graph, AGRAPH, attribute.data(), hurried.data());
  }
}

}  // namespace

std::string graphviz_version() { return gvcVersion(context()); }

void render(std::string_view dot, std::string_view path) {
  const std::size_t point = path.rfind('.');
  const std::string format(point == std::string_view::npos ? "" : path.substr(point + 1));
  if (format == "dot") return write_file(path, dot);
  if (format != "svg" && format != "png" && format != "pdf")
    throw Error(fmt::format("render: \"{}\" must end in .svg, .png, .pdf or .dot", path));

  static std::mutex one_at_a_time;  // Graphviz keeps its state in globals
  const std::lock_guard lock(one_at_a_time);
  complaint.clear();
  agseterrf(remember_complaint);
  const std::unique_ptr<Agraph_t, CloseGraph> graph(agmemread(std::string(dot).c_str()), CloseGraph{context()});
  if (!graph) throw Error(fmt::format("render: this is no DOT text: {}", complaint));
  if (const int nodes = agnnodes(graph.get()); nodes > kMostNodes)
    throw Error(
        fmt::format("render: a graph of {} nodes takes Graphviz many minutes, from {} on: write a .dot file, or draw a "
                    "level that has fewer (layer)",
                    nodes, kMostNodes));
  hurry_if_large(graph.get());
  if (gvLayout(context(), graph.get(), "dot") != 0)
    throw Error(fmt::format("render: Graphviz can't lay it out: {}", complaint));
  char* data = nullptr;
  unsigned int length = 0;
  if (gvRenderData(context(), graph.get(), format.c_str(), &data, &length) != 0 || !data)
    throw Error(fmt::format("render: Graphviz can't write {}: {}", format, complaint));
  const std::unique_ptr<char, void (*)(char*)> owned(data, gvFreeRenderData);
  write_file(path, std::string_view(data, length));
}

}  // namespace twopass
