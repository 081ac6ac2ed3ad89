// Pictures through Graphviz.
#pragma once
#include <string_view>

namespace twopass {

/// Lays DOT text out and writes it to a file whose ending says the format: svg, png or pdf (or dot: the text itself).
/// Refuses other endings, text that is no DOT and files that can't be written.
void render(std::string_view dot, std::string_view path);

}  // namespace twopass
