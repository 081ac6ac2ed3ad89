// Which part of a model made a node, for those who ask.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <twopass/core/node.h>

namespace twopass {

/// While it lives, this thread notes which nodes are made in which named place: the last some ten thousand places. Logs
/// nest; each sees all places.
class PlaceLog {
 public:
  PlaceLog();
  ~PlaceLog();
  PlaceLog(const PlaceLog&) = delete;
  PlaceLog& operator=(const PlaceLog&) = delete;
  /// The path of the innermost place that made a node ("encoder/dense_1"); empty where none did.
  std::string of(const Node& node) const;
  /// The log that was opened last on this thread, or none.
  static const PlaceLog* current();
  /// The path of the place that this thread is in; empty where no log is open.
  static std::string here();

 private:
  friend class PlaceScope;
  struct Stretch {
    std::string path;
    std::uint64_t first, last;  // the numbers that were given out in it
    std::size_t inside = 0;     // stretches that lie in it, right before it
    std::size_t around = 0;     // how much further the smallest stretch is that it lies in; 0: in none that has ended
  };
  void add(Stretch stretch);
  std::vector<Stretch> stretches_;  // as they end
  PlaceLog* before_;
};

/// A named place, such as a layer of a model, for as long as it lives; none where the name is empty. Costs nothing
/// where no log is open.
class PlaceScope {
 public:
  explicit PlaceScope(std::string_view name);
  ~PlaceScope();
  PlaceScope(const PlaceScope&) = delete;
  PlaceScope& operator=(const PlaceScope&) = delete;

 private:
  std::uint64_t first_ = 0;  // 0: no log was open
  std::size_t outer_ = 0;    // the length of the path without this place
};

}  // namespace twopass
