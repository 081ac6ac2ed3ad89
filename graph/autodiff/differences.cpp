#include <twopass/graph/autodiff/differences.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace twopass {

struct Differences::Central {
  int level;
  double slope, width, rounding;  // NaN where the function is not finite; what it was divided by; how far off it may be
  double noise = 0;               // the same, with what shows itself

  bool valid() const { return std::isfinite(slope); }
};

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
// Between the pairs that look at all scales: a pair sees the derivative over 30 levels or more.
constexpr int kStride = 10;

using Central = Differences::Central;
using Centrals = std::vector<Central>;

// R = (h² D(h') - h'² D(h)) / (h² - h'²) for a step h and the next smaller h', where both are there.
double richardson(const Centrals& all, std::size_t k) {
  if (k + 1 >= all.size() || all[k + 1].level != all[k].level + 1) return kNothing;
  const double half = all[k].width / all[k + 1].width, ratio = half * half;  // squares of widths may be 0
  return (ratio * all[k + 1].slope - all[k].slope) / (ratio - 1);
}

// Adds what the differences of a pair of steps disagree about: this one, a smaller one or a little larger one (two may
// agree by chance). Where the function is smooth, that vanishes with the cube of the step.
void add_noise(Centrals& all) {
  constexpr int kNear = 3;
  double smaller = 0;
  for (std::size_t k = all.size(); k-- > 0;) {
    const auto unrest = [&](std::size_t fine) {
      if (fine == 0 || all[fine - 1].level != all[fine].level - 1) return 0.0;
      const double off = std::abs(all[fine - 1].slope - all[fine].slope) * all[fine - 1].width;
      return std::isfinite(off) ? off : 0.0;
    };
    smaller = std::max(smaller, unrest(k));
    double most = smaller;
    for (std::size_t larger = k; larger-- > 0 && all[larger].level >= all[k].level - kNear;)
      most = std::max(most, unrest(larger));
    all[k].noise = all[k].rounding + 2 * most / all[k].width;
  }
}

// Whether a step smaller than that of k sees something else than `slope`, give or take `off`: by how much.
double contradiction(const Centrals& all, std::size_t k, double slope, double off) {
  double most = 0;
  for (std::size_t finer = k + 1; finer < all.size(); ++finer)
    if (all[finer].valid()) most = std::max(most, std::abs(all[finer].slope - slope) - all[finer].noise - off);
  return most;
}

// Whether what the smallest steps agree on, `slope`, is left all at once by those of `level` or smaller, for something
// of much the same size at all of these, as where steps meet ever more edges of stairs. Beside a kink and among waves
// they come near bit by bit, and beside one jump they are the further off the smaller they are. Larger steps meet the
// kinks of a network as they meet stairs.
bool leaves_at_once(const Centrals& all, double slope, double other, int level) {
  constexpr std::size_t kBack = 3;
  for (std::size_t k = all.size(); k-- > kBack;) {
    const auto off = [&](std::size_t at) { return std::abs(all[at].slope - slope); };
    if (!all[k].valid() || off(k) <= 4 * all[k].rounding + 0.02 * std::abs(other - slope)) continue;
    const bool known = k + 1 < all.size() && all[k + 1].level - all[k - kBack].level == static_cast<int>(kBack) + 1;
    return known && all[k].level >= level && off(k) > 0.8 * off(k - 1) && off(k) < 3 * off(k - kBack);
  }
  return false;
}

// Of the pairs of neighbours that no smaller step contradicts, the one with the least difference and noise; of much the
// same, the smallest steps.
std::optional<int> steadiest_pair(const Centrals& all) {
  std::optional<int> steadiest;
  double least = kInfinity;
  for (std::size_t k = 0; k + 1 < all.size(); ++k) {
    const Central &coarse = all[k], &fine = all[k + 1];
    if (fine.level != coarse.level + 1 || !coarse.valid() || !fine.valid()) continue;
    const double change = std::abs(coarse.slope - fine.slope);
    const double off = (change + fine.rounding) / std::abs(fine.slope);
    if (off > 4 * least || contradiction(all, k + 1, fine.slope, 2 * change) > 0) continue;
    least = std::min(least, off);
    steadiest = coarse.level;
  }
  return steadiest;
}

}  // namespace

// With one Richardson step the truncation error is of order h⁴ and rounding of order ε / h: ε^(1/5) balances them.
// Steps below a few units in the last place of x are no steps; beside x = 0 there is no such limit, and 60 levels do.
Differences::Differences(Curve curve, std::vector<double> here, Place place, double epsilon, const Noise& noise)
    : curve_(std::move(curve)),
      here_(std::move(here)),
      noise_(noise),
      of_element_(place.of_element),
      size_of_x_(std::abs(place.x)),
      longest_(place.longest),
      epsilon_(epsilon) {
  const int digits = static_cast<int>(-std::log2(epsilon));
  middle_ = digits / 5 - 1;
  finest_ = digits / 2;
  deepest_ = digits - 3;
  if (place.of_element && std::isfinite(size_of_x_)) {
    const int exponent = size_of_x_ > 0 ? static_cast<int>(std::floor(std::log2(size_of_x_))) : -11;
    if (exponent > 0) scale_ = std::ldexp(1.0, exponent);
    deepest_ -= std::min(exponent, 0);
  }
  for (int level = middle_; level < middle_ + 3; ++level) compute(level);
  next_ = {middle_ + 3, middle_ + 4, middle_ - 1};
}

void Differences::compute(int level) {
  // Steps of one mantissa would round alike, and meet every wave of a length of 2^k at the same place.
  constexpr double kMantissas[] = {0.9706, 1.0632, 1.1447};
  const double h = std::ldexp(scale_ * kMantissas[((level % 3) + 3) % 3], -level);
  levels_[level] = {curve_(h), curve_(-h)};
}

bool Differences::refine(std::size_t component) {
  while (true) {
    while (!next_.empty() && levels_.count(next_.front())) next_.pop_front();
    if (!next_.empty()) break;
    if (phase_ == Phase::done) return false;
    plan_next(component);
  }
  compute(next_.front());
  next_.pop_front();
  return true;
}

// Of the pairs that look at all scales the smaller step of every other one.
void Differences::glance() {
  for (int level = middle_ + 2 + kStride / 2, number = 0; level < deepest_; level += kStride, ++number)
    if ((number % 2 == 1 || level + kStride >= deepest_) && !levels_.count(level)) compute(level);
}

void Differences::plan_next(std::size_t component) {
  phase_ = static_cast<Phase>(static_cast<int>(phase_) + 1);
  const auto plan = [&](int from, int to) {
    for (int level = from; level <= to; ++level) next_.push_back(level);
  };
  if (phase_ == Phase::everywhere) {
    for (int level = middle_ + 2 + kStride / 2; level < deepest_; level += kStride) plan(level, level + 1);
  } else if (phase_ == Phase::around) {
    const int steadiest = steadiest_pair(centrals(component)).value_or(finest_);
    plan(std::max(steadiest - 3, middle_ - 3), std::min(steadiest + 4, deepest_));
  } else if (phase_ == Phase::rest) {
    plan(middle_ - 3, std::max(finest_, std::min(deepest_, 2 * finest_)));
  }
}

double Differences::size(std::size_t component) const {
  double size = 0;
  const auto see = [&](double value) {
    if (std::isfinite(value)) size = std::max(size, std::abs(value) / scale_);
  };
  see(here_[component]);
  for (int level = middle_; level < middle_ + 3; ++level) {
    see(levels_.at(level).above.values[component]);
    see(levels_.at(level).below.values[component]);
  }
  return size;
}

// The largest step up to which none changes anything at all; 0 where the smallest does.
double Differences::silent(std::size_t component) const {
  double reach = 0;
  for (auto each = levels_.rbegin(); each != levels_.rend(); ++each) {
    const auto& [above, below] = each->second;
    if (above.values[component] != here_[component] || below.values[component] != here_[component]) break;
    reach = above.at;
  }
  return reach;
}

double Differences::change(std::size_t component, const Level& level) const {
  double most = 0;
  for (const Point* point : {&level.above, &level.below}) {
    const double each = std::abs(point->values[component] - here_[component]);
    if (std::isfinite(each)) most = std::max(most, each);
  }
  return most;
}

// Where the smallest steps change a value by about as much as any do, and by more than its own rounding, larger ones
// may agree on anything: sin x at 1e15 has the slope 0 for them. Roundings on the way may explain it.
void Differences::find_unresolved(std::size_t component, Slope& slope) const {
  const Level& smallest = levels_.rbegin()->second;
  const double least = change(component, smallest);
  double most = least;
  for (const auto& [number, level] : levels_) most = std::max(most, change(component, level));
  slope.unresolved = least > most / 256 && least > 16 * epsilon_ * std::abs(here_[component]);
  if (slope.unresolved && least > 16 * noise_.all[component])
    slope.error = std::max(slope.error, least / smallest.above.at);
  // Flat where the slope would show.
  const double shown = of_element_ ? 0 : std::abs(slope.value) * silent(component);
  if (shown > 32 * std::max(epsilon_ * std::abs(here_[component]), noise_.all[component]))
    slope.error = std::max(slope.error, std::abs(slope.value));
}

// The smallest steps of large numbers are long. What waves of a length of about 1 do between them looks like noise, but
// like more than roundings make, and it does not shrink with the step as what a bend or a kink does; along a direction
// the roundings of the inputs may hide it.
void Differences::find_waves(std::size_t component, Slope& slope) const {
  constexpr double kLong = 1.0 / 256;
  const auto real = [&](const Level& level) { return level.above.at * longest_; };
  if (!of_element_) {
    slope.unresolved = slope.unresolved || real(levels_.rbegin()->second) > kLong;
    return;
  }
  const double here = here_[component], roundings = std::max(epsilon_ * std::abs(here), noise_.inside[component]);
  // Of what a step changes, what is not the slope.
  const auto rest = [&](const Level& level) {
    const double up = level.above.values[component] - here - slope.value * level.above.at;
    const double down = level.below.values[component] - here - slope.value * level.below.at;
    return std::max(std::abs(up), std::abs(down));
  };
  const auto found = levels_.find(slope.level);
  if (found == levels_.end()) return;
  const double allowed = 2 * rest(found->second);
  for (auto each = std::next(found); each != levels_.end() && real(each->second) > kLong; ++each) {
    const double more = rest(each->second);
    if (!std::isfinite(more) || more <= 32 * roundings + std::ldexp(allowed, slope.level - each->first)) continue;
    slope.unresolved = true;
    slope.error = std::max(slope.error, more / each->second.above.at);
  }
}

// Where small changes are whole multiples of a number, as after a cast to f32 or a sum with a large number, no step
// sees less than that number. Two changes or fewer are multiples of something by chance.
double Differences::quantum(std::size_t component) const {
  std::vector<double> changes;
  double least = kInfinity;
  for (const auto& [number, level] : levels_)
    for (const Point* point : {&level.above, &level.below}) {
      const double change = std::abs(point->values[component] - here_[component]);
      if (!(change > 0) || !std::isfinite(change)) continue;
      changes.push_back(change);
      least = std::min(least, change);
    }
  std::erase_if(changes, [&](double change) { return change > 100 * least; });
  if (changes.size() < 3) return 0;
  for (int part = 1; part <= 16; ++part) {
    const auto whole = [&](double change) {
      const double count = change * part / least;
      return std::abs(count - std::round(count)) < 1e-3;
    };
    if (std::all_of(changes.begin(), changes.end(), whole)) return least / part;
  }
  return 0;
}

Centrals Differences::centrals(std::size_t component) const {
  Centrals all;
  all.reserve(levels_.size());
  const double least = has_looked_everywhere() ? quantum(component) : 0;
  for (const auto& [number, level] : levels_) {
    const double above = level.above.values[component], below = level.below.values[component];
    const double width = level.above.at - level.below.at;
    const double size = std::max({std::abs(above), std::abs(below), std::abs(here_[component])});
    // f(x) has at least the error that rounding x by itself brings.
    const double slope = width > 0 ? (above - below) / width : kNothing;
    all.push_back(
        {number, slope, width,
         4 * (least + std::max(epsilon_ * std::max(size, std::abs(slope) * size_of_x_), noise_.all[component])) /
             width});
  }
  add_noise(all);
  return all;
}

Slope Differences::slope(std::size_t component) const {
  Slope best{.value = kNothing, .error = kInfinity};
  const Centrals all = centrals(component);
  const auto change = [&](std::size_t k) {
    const double c = std::abs(richardson(all, k + 1) - richardson(all, k));
    return std::isfinite(c) ? c : kInfinity;
  };
  Slope rival{.error = kInfinity};  // what larger steps agree on
  for (std::size_t k = 0; k + 2 < all.size(); ++k) {
    double error = change(k);
    if (!std::isfinite(error)) continue;
    // Two results may agree by chance: truncation falls 16 times from step to step and rounding doubles, so neighbours
    // bound what can be believed.
    if (k > 0 && std::isfinite(change(k - 1))) error = std::max(error, change(k - 1) / 64);
    if (std::isfinite(change(k + 1))) error = std::max(error, change(k + 1) / 4);
    const Central& fine = all[k + 2];
    const double value = richardson(all, k + 1);
    error += 3 * fine.rounding;
    // What smaller steps see must be the same, but for this one's truncation and their noise.
    const double off = contradiction(all, k + 2, value, std::abs(fine.slope - value));
    if (off > error && error < 0.01 * std::abs(value) && error < rival.error) rival = {.value = value, .error = error};
    const bool contradicted = off > error;
    error = std::max(error, off);
    if (error < best.error)
      best = {.value = value,
              .error = error,
              .level = fine.level,
              .central = fine.slope,
              .reach = fine.width / 2,
              .rounding = fine.rounding,
              .contradicted = contradicted};
  }
  const double apart = std::abs(rival.value - best.value);
  best.disputed = std::isfinite(rival.error) && apart > 10 * (rival.error + best.error);
  best.stairs = best.disputed && leaves_at_once(all, best.value, rival.value, finest_ - 3);
  if (best.stairs) best.error = apart;
  best.silent = has_looked_everywhere() && silent(component) > 0;
  if (has_looked_everywhere()) {
    find_unresolved(component, best);
    find_waves(component, best);
  }
  find_kink(component, best);
  return best;
}

// Or the smallest steps cannot tell `value` from what they see, though they could nearly, after somewhat larger ones
// that see clearly what `slope` stepped over: waves so short that they are seen only where roundings begin.
bool Differences::sees_closer(std::size_t component, double value, const Slope& slope) const {
  const double off = std::abs(value - slope.value);
  // Terms of a direction may cancel: what is seen of them is to be measured by what they are.
  const double nearly = of_element_ ? 30 * off : std::max(30 * off, noise_.all[component] / epsilon_);
  int in_a_row = 0, last = 0;
  bool stepped_over = false;
  for (const Central& each : centrals(component)) {
    if (each.level <= slope.level || !each.valid()) continue;
    const bool same = std::abs(each.slope - value) < each.rounding;
    const double other = std::abs(each.slope - slope.value);
    in_a_row = same && other > 4 * each.rounding ? in_a_row + 1 : 0;
    if (in_a_row == 2) return true;
    last = same && each.rounding < nearly ? last + 1 : 0;
    stepped_over = stepped_over || other > std::max(2 * each.rounding, 0.5 * off);
  }
  return stepped_over && last >= 2;
}

// The one-sided slopes differ by J(h). Where the function is smooth J(h) = h f'' + …, so what J tends to as h vanishes
// is far less than J; at a kink both are the jump. One that is small beside the slopes must show at several steps.
void Differences::find_kink(std::size_t component, Slope& slope) const {
  if (!std::isfinite(here_[component])) return;
  const auto one_sided = [&](const Point& point) { return (point.values[component] - here_[component]) / point.at; };
  // What two steps to one side say of h = 0.
  const auto limit = [&](const Point& far, const Point& near) {
    return one_sided(near) + (one_sided(near) - one_sided(far)) * near.at / (far.at - near.at);
  };
  constexpr int kSeveral = 3;
  double error = 0;
  int steady = 0, level = 0;  // how many pairs agree, and the last of them
  // The smallest pair of an ordinary size, which agrees with the pair before it, unless a smaller one sees no kink.
  for (auto coarse = levels_.begin(), fine = std::next(coarse); fine != levels_.end(); coarse = fine++) {
    if (fine->first != coarse->first + 1) continue;
    const double above = one_sided(fine->second.above), below = one_sided(fine->second.below);
    const double above_limit = limit(coarse->second.above, fine->second.above);
    const double below_limit = limit(coarse->second.below, fine->second.below);
    if (!std::isfinite(above_limit) || !std::isfinite(below_limit)) continue;
    const double jump = std::abs(above - below), size = std::max(std::abs(above), std::abs(below));
    const double rest = std::abs(above_limit - below_limit);
    const double value = std::max(std::abs(here_[component]), size * std::abs(fine->second.above.at));
    const double rounding =
        4 * std::max(epsilon_ * value, noise_.all[component]) / (fine->second.above.at - fine->second.below.at);
    const bool kink = rest > 50 * rounding;
    const double known = steady > 0 ? std::abs(slope.above - slope.below) : 0;
    if (!kink && 50 * rounding > (known > 0 ? 0.5 * known : 0.01 * size)) continue;  // rounding hides it
    if (coarse->first >= finest_) {
      slope.kink = slope.kink && kink;
      continue;
    }
    const bool same = std::abs(above_limit - slope.above) + std::abs(below_limit - slope.below) < 0.1 * rest;
    steady = kink && same ? steady + 1 : 0;
    const bool plain = rest > 0.5 * jump && rest < 1.25 * jump && jump > 50 * rounding + 1e-4 * size;
    slope.kink = steady >= kSeveral || (steady > 0 && plain);
    slope.below = below_limit;
    slope.above = above_limit;
    level = fine->first;
    error = 10 * rounding;
  }
  // Waves may look like one by chance. Smaller steps to both sides of a kink see the mean of its slopes.
  const double beside = std::abs(slope.value - (slope.below + slope.above) / 2);
  if (slope.level > level && beside > 10 * slope.error + 0.1 * std::abs(slope.above - slope.below)) slope.kink = false;
  if (slope.kink) slope.error = error;
}

}  // namespace twopass
