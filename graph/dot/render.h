// Pictures through Graphviz.
#pragma once
#include <string>
#include <string_view>

namespace twopass {

/// Lays DOT text out and writes it to a file whose ending says the format: svg, png or pdf (or dot: the text itself).
/// Refuses other endings, text that is no DOT, files that can't be written and more than 6000 nodes. Graphs of more
/// than a thousand nodes are laid out with straight edges and less care, unless the text says how, so that it takes
/// seconds.
void render(std::string_view dot, std::string_view path);

/// The version of Graphviz that draws.
std::string graphviz_version();

}  // namespace twopass
