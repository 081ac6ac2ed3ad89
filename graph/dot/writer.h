// DOT text, piece by piece, with every name escaped. For the files of this folder.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace twopass {

/// A string in DOT's double quotes: quotes, backslashes and ampersands escaped, lines broken by \n, control characters
/// and invalid UTF-8 replaced by U+FFFD, and cut to 200 characters with an ellipsis.
std::string dot_quoted(std::string_view text);

/// What a node stands for: decides its colours.
enum class DotStyle { input, parameter, constant, layer, op, output, gradient, guilty };

/// Writes a digraph. Nodes are n0, n1, … in the order in which they are made; names appear in labels only.
class DotWriter {
 public:
  explicit DotWriter(std::string_view title);
  /// The number of a new node.
  std::size_t node(std::string_view label, DotStyle style);
  void edge(std::size_t from, std::size_t to, std::string_view label = "", bool dashed = false);
  /// Nodes made until the matching close stand in a frame with a title, t0, t1, …; frames nest.
  void open(std::string_view title, DotStyle style);
  void close();
  /// The whole text.
  std::string text() const;

 private:
  std::string indent() const { return std::string(2 * depth_, ' '); }
  std::string body_;
  std::string edges_;
  std::size_t nodes_ = 0;
  std::size_t frames_ = 0;
  std::size_t depth_ = 1;
};

}  // namespace twopass
