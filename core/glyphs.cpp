#include <twopass/core/datasets.h>

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/core.h>

#include <twopass/core/error.h>
#include <twopass/core/random.h>

namespace twopass::data {
namespace {

constexpr int kSide = 28;
constexpr int kPixels = kSide * kSide;

struct Point {
  float x, y;  // within the unit square, y downwards
};
using Stroke = std::vector<Point>;
using Glyph = std::vector<Stroke>;

// Angles in degrees, clockwise from the right as y points down.
void arc(Stroke& stroke, Point centre, Point radius, float from, float to) {
  const int pieces = std::max(3, static_cast<int>((to - from) / 24));
  for (int k = 0; k <= pieces; ++k) {
    const float angle = (from + (to - from) * static_cast<float>(k) / static_cast<float>(pieces)) * 0.01745329f;
    stroke.push_back({centre.x + radius.x * std::cos(angle), centre.y + radius.y * std::sin(angle)});
  }
}

std::array<Glyph, 10> draw_digits() {
  std::array<Glyph, 10> digits;
  Stroke s;
  arc(s, {.5f, .5f}, {.3f, .45f}, 0, 360);
  digits[0] = {s};
  digits[1] = {{{.35f, .22f}, {.52f, .05f}, {.52f, .95f}}};
  s.clear();
  arc(s, {.5f, .3f}, {.28f, .25f}, 190, 380);
  s.insert(s.end(), {{.22f, .93f}, {.8f, .93f}});
  digits[2] = {s};
  s.clear();
  arc(s, {.45f, .28f}, {.28f, .23f}, 200, 450);
  arc(s, {.45f, .73f}, {.32f, .22f}, 270, 515);
  digits[3] = {s};
  digits[4] = {{{.5f, .05f}, {.2f, .62f}, {.82f, .62f}}, {{.62f, .35f}, {.62f, .95f}}};
  s = {{.75f, .07f}, {.3f, .07f}, {.27f, .45f}};
  arc(s, {.48f, .66f}, {.3f, .27f}, 225, 500);
  digits[5] = {s};
  s = {{.65f, .06f}, {.38f, .3f}, {.24f, .6f}};
  arc(s, {.5f, .7f}, {.27f, .25f}, 190, 550);
  digits[6] = {s};
  digits[7] = {{{.2f, .08f}, {.8f, .08f}, {.4f, .95f}}};
  Stroke low;
  s.clear();
  arc(s, {.5f, .28f}, {.22f, .22f}, 0, 360);
  arc(low, {.5f, .73f}, {.28f, .23f}, 0, 360);
  digits[8] = {s, low};
  s.clear();
  arc(s, {.5f, .3f}, {.26f, .25f}, 0, 360);
  s.insert(s.end(), {{.72f, .6f}, {.6f, .95f}});
  digits[9] = {s};
  return digits;
}

// SplitMix64 (Steele, Lea, Flood, 2014), started from Random for each sample: noise for every pixel has to be cheap.
class Draw {
 public:
  explicit Draw(std::uint64_t state) : state_(state) {}
  std::uint64_t bits() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  float between(float low, float high) { return low + (high - low) * static_cast<float>(bits() >> 40) * 0x1p-24f; }

 private:
  std::uint64_t state_;
};

class Distortion {
 public:
  explicit Distortion(Draw& draw) {
    const float turn = draw.between(-.3f, .3f), shear = draw.between(-.3f, .3f);
    const float width = draw.between(14, 23), height = draw.between(15, 23);
    const float c = std::cos(turn), s = std::sin(turn);
    xx_ = c * width, xy_ = (c * shear - s) * height, yx_ = s * width, yy_ = (s * shear + c) * height;
    x_ = kSide / 2.0f + draw.between(-3, 3), y_ = kSide / 2.0f + draw.between(-3, 3);
  }
  Point operator()(Point p) const {
    const float x = p.x - .5f, y = p.y - .5f;
    return {x_ + xx_ * x + xy_ * y, y_ + yx_ * x + yy_ * y};
  }

 private:
  float xx_, xy_, yx_, yy_, x_, y_;
};

// Lowers each pixel's squared distance to what is drawn, within `reach` of the segment.
void add_segment(Point a, Point b, float reach, float* squared) {
  const auto pixel = [](float at) { return std::clamp(static_cast<int>(at), 0, kSide - 1); };
  const int left = pixel(std::min(a.x, b.x) - reach), right = pixel(std::max(a.x, b.x) + reach);
  const int top = pixel(std::min(a.y, b.y) - reach), bottom = pixel(std::max(a.y, b.y) + reach);
  const float dx = b.x - a.x, dy = b.y - a.y;
  const float scale = 1.0f / std::max(dx * dx + dy * dy, 1e-6f);
  for (int row = top; row <= bottom; ++row) {
    for (int column = left; column <= right; ++column) {
      const float px = static_cast<float>(column) + .5f - a.x, py = static_cast<float>(row) + .5f - a.y;
      const float along = std::min(1.0f, std::max(0.0f, (px * dx + py * dy) * scale));
      const float ex = px - along * dx, ey = py - along * dy;
      float& best = squared[row * kSide + column];
      best = std::min(best, ex * ex + ey * ey);
    }
  }
}

void render(const Glyph& glyph, Draw draw, float* pixels) {
  const Distortion distort(draw);
  const float radius = draw.between(.6f, 1.6f), ink = draw.between(.65f, 1.0f), noise = draw.between(.05f, .3f);
  float squared[kPixels];
  std::fill(squared, squared + kPixels, 100.0f);
  for (const Stroke& stroke : glyph) {
    const auto moved = [&](Point p) {
      const Point q = distort(p);
      return Point{q.x + draw.between(-.5f, .5f), q.y + draw.between(-.5f, .5f)};
    };
    Point before = moved(stroke[0]);
    for (std::size_t k = 1; k < stroke.size(); ++k) {
      const Point here = moved(stroke[k]);
      add_segment(before, here, radius + 1, squared);
      before = here;
    }
  }
  for (int k = 0; k < kPixels; ++k) {
    // Coverage falls from 1 to 0 over one pixel around the stroke's edge.
    const float cover = std::min(1.0f, std::max(0.0f, radius + .5f - std::sqrt(squared[k])));
    pixels[k] = std::min(1.0f, std::max(0.0f, ink * cover + noise * draw.between(-1, 1)));
  }
}

}  // namespace

Set glyphs(const GlyphOptions& options) {
  constexpr std::int64_t kMost = 10'000'000;
  if (options.samples < 1 || options.samples > kMost)
    throw Error(fmt::format("glyphs: samples is {}, expected 1 to {}", options.samples, kMost));
  static const std::array<Glyph, 10> kDigits = draw_digits();
  const std::vector<std::int64_t> order = Random(seed_of(options.seed, "glyphs/labels")).permutation(options.samples);
  Random starts(seed_of(options.seed, "glyphs/pixels"));
  Set set{uninitialised({options.samples, kPixels}, f32), uninitialised({options.samples}, i64), {}, {}, {}};
  float* pixels = writable<float>(set.inputs);
  std::int64_t* labels = writable<std::int64_t>(set.labels);
  for (std::int64_t k = 0; k < options.samples; ++k) {
    labels[k] = order[static_cast<std::size_t>(k)] % 10;
    render(kDigits[static_cast<std::size_t>(labels[k])], Draw(starts.bits()), pixels + k * kPixels);
  }
  set.flags = digit_flags(set.labels);
  set.facts = digit_facts(set.labels, options.seed);
  for (int digit = 0; digit < 10; ++digit) set.classes.push_back(std::to_string(digit));
  return set;
}

}  // namespace twopass::data
