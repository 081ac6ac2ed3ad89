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
  // What contains the number ends behind it, as the first of these does, and so lies around that or is it.
  auto stretch = std::lower_bound(stretches_.begin(), stretches_.end(), node.number,
                                  [](const Stretch& each, std::uint64_t number) { return each.last < number; });
  while (stretch != stretches_.end() && stretch->first >= node.number) {
    if (!stretch->around) return {};
    stretch += static_cast<std::ptrdiff_t>(stretch->around);
  }
  return stretch == stretches_.end() ? std::string() : stretch->path;
}

void PlaceLog::add(Stretch stretch) {
  if (stretches_.size() == kMost) stretches_.erase(stretches_.begin(), stretches_.begin() + kMost / 2);
  std::size_t inner = stretches_.size();  // what it has in it, from the last on, each with all that lies in that
  while (inner > 0 && stretches_[inner - 1].first > stretch.first) {
    stretches_[inner - 1].around = stretches_.size() - (inner - 1);
    inner -= std::min(inner, stretches_[inner - 1].inside + 1);
  }
  stretch.inside = stretches_.size() - inner;
  stretches_.push_back(std::move(stretch));
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
  for (PlaceLog* log = open_log; log; log = log->before_) log->add({path(), first_, last});
  path().resize(outer_);
}

}  // namespace twopass
