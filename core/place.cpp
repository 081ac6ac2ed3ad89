#include <twopass/core/place.h>

#include <algorithm>

namespace twopass {
namespace {

constexpr std::size_t kMost = 20000;  // a log may stay open for a whole training

thread_local constinit PlaceLog* open_log = nullptr;

// Where this thread is, as long as a log is open.
std::string& path() {
  thread_local std::string text;
  return text;
}

}  // namespace

PlaceLog::PlaceLog() : before_(open_log) { open_log = this; }
PlaceLog::~PlaceLog() { open_log = before_; }

const PlaceLog* PlaceLog::current() { return open_log; }
std::string PlaceLog::here() { return path(); }

std::string PlaceLog::of(const Node& node) const {
  // Inner places end, and are noted, before outer ones.
  auto stretch = std::lower_bound(stretches_.begin(), stretches_.end(), node.number,
                                  [](const Stretch& each, std::uint64_t number) { return each.last < number; });
  while (stretch != stretches_.end() && stretch->first >= node.number) ++stretch;
  return stretch == stretches_.end() ? std::string() : stretch->path;
}

PlaceScope::PlaceScope(std::string_view name) {
  if (!open_log || name.empty()) return;
  outer_ = path().size();
  if (outer_) path() += '/';
  path() += name;
  first_ = Node::next_number(0);
}

PlaceScope::~PlaceScope() {
  if (!first_) return;
  const std::uint64_t last = Node::next_number(0);
  for (PlaceLog* log = open_log; log; log = log->before_) {
    auto& stretches = log->stretches_;
    if (stretches.size() == kMost) stretches.erase(stretches.begin(), stretches.begin() + kMost / 2);
    stretches.push_back({path(), first_, last});
  }
  path().resize(outer_);
}

}  // namespace twopass
