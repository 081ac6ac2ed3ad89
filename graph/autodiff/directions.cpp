#include <twopass/graph/autodiff/directions.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include <twopass/core/random.h>
#include <twopass/graph/autodiff/alone.h>
#include <twopass/ops/creation.h>

namespace twopass {
namespace {

using Values = std::vector<double>;

constexpr std::int64_t kMany = 256;           // elements
constexpr double kASecond = 1e9;              // floating-point operations
constexpr double kOfAComparison = 400;        // of one derivative with its differences
constexpr double kOfAnElement = 20;           // of an input, which is copied to be moved
constexpr double kAtFirst = 8;                // passes that a column takes, or more
constexpr double kOfALook = 4;                // passes more at other scales
constexpr std::int64_t kCloselyAtLeast = 64;  // columns

// Between 0.5 and 1.5 in size, of either sign: nothing is left out, nothing cancels by design.
Values signed_numbers(Random& random, std::int64_t n) {
  Values numbers(static_cast<std::size_t>(n));
  for (double& x : numbers) x = (0.5 + random.uniform()) * (random.below(2) ? 1 : -1);
  return numbers;
}

class Choice {
 public:
  Choice(const Tensors& inputs, const Tensors& outputs, const GradcheckOptions& options)
      : inputs_(inputs), outputs_(outputs), options_(options), work_(work_behind(outputs)) {
    for (const Tensor& x : inputs) largest_ = std::max(largest_, static_cast<double>(x.elements()));
    most_ = most_elements();
  }

  Directions made() const {
    Directions made;
    for (std::size_t k = 0; k < inputs_.size(); ++k)
      if (is_floating(inputs_[k].dtype())) add_elements(k, made.columns);
    add_rows(made.rows);
    choose_closely(made);
    add_columns_together(made.columns);
    return made;
  }

 private:
  // Infinity cannot be moved.
  void add_elements(std::size_t input, std::vector<Direction>& columns) const {
    const Values values = inputs_[input].values<double>();
    for (const std::int64_t place : chosen(inputs_[input].elements(), fmt::format("input {}", input)))
      if (std::isfinite(values[static_cast<std::size_t>(place)])) columns.push_back({.of = input, .element = place});
  }

  // Every element, or some.
  std::vector<std::int64_t> chosen(std::int64_t n, const std::string& what) const {
    std::vector<std::int64_t> places(static_cast<std::size_t>(n));
    for (std::size_t k = 0; k < places.size(); ++k) places[k] = static_cast<std::int64_t>(k);
    if (n <= most_) return places;
    places = Random(seed_of(options_.seed, what)).permutation(n);
    places.resize(static_cast<std::size_t>(std::max<std::int64_t>(1, most_ / 8)));
    return places;
  }

  double of_a_pass() const { return work_ + kOfAnElement * largest_; }

  // All that one second pays for, or of large inputs and outputs a part that ten seconds pay for. A row takes two
  // backward passes of three.
  std::int64_t most_elements() const {
    if (options_.elements > 0) return options_.elements;
    const auto cost = [&](std::int64_t most) {
      const auto directions = [&](const Tensors& tensors) {
        double count = 0;
        for (const Tensor& x : tensors)
          if (is_floating(x.dtype())) count += static_cast<double>(x.elements() <= most ? x.elements() : most / 8);
        return count;
      };
      const double columns = directions(inputs_), rows = directions(outputs_);
      return of_a_pass() * kAtFirst * columns + work_ * 6 * rows + kOfAComparison * rows * columns;
    };
    constexpr auto kAll = std::numeric_limits<std::int64_t>::max();
    if (cost(kAll) <= kASecond) return kAll;
    std::int64_t most = kMany;
    while (most > 32 && cost(most) > 10 * kASecond) most /= 2;
    return most;
  }

  // As many elements as one second more pays for, drawn where these are not all.
  void choose_closely(Directions& made) const {
    const double each = of_a_pass() * kOfALook + kOfAComparison * static_cast<double>(made.rows.size());
    const auto all = static_cast<std::int64_t>(made.columns.size());
    const auto paid = static_cast<std::int64_t>(std::min(kASecond / each, 1e9));
    const std::int64_t count = std::min(all, std::max(paid, kCloselyAtLeast));
    std::vector<std::int64_t> order = Random(seed_of(options_.seed, "closely")).permutation(all);
    order.resize(static_cast<std::size_t>(count));
    for (const std::int64_t place : order) made.columns[static_cast<std::size_t>(place)].closely = true;
  }

  // All inputs at once: what each element does by itself may be a subgradient without the whole being one, and what one
  // element hides at small scales shows in the whole. Large and small elements move by as much as their size, infinite
  // ones not at all.
  void add_columns_together(std::vector<Direction>& columns) const {
    std::int64_t total = 0;
    for (const Tensor& x : inputs_) total += is_floating(x.dtype()) ? x.elements() : 0;
    for (int k = 0; k <= options_.directions && total > 1; ++k) {
      Random random(seed_of(options_.seed, fmt::format("direction {}", k)));
      Direction all{.of = Direction::kTogether, .closely = true};
      for (const Tensor& x : inputs_) {
        Values& numbers = all.numbers.emplace_back();
        if (!is_floating(x.dtype())) continue;
        numbers = k == 0 ? Values(static_cast<std::size_t>(x.elements()), 1) : signed_numbers(random, x.elements());
        const Values values = x.values<double>();
        for (std::size_t place = 0; place < numbers.size(); ++place)
          numbers[place] *= std::isfinite(values[place]) ? size_of_steps(values[place]) : 0;
      }
      columns.push_back(std::move(all));
    }
  }

  // What is neither small nor large moves by as much as others, so that roundings hide nothing of it.
  static double size_of_steps(double x) {
    constexpr double kSmall = 1.0 / 4096;
    const double size = std::abs(x);
    return size > 1 || (size < kSmall && size > 0) ? std::ldexp(1.0, static_cast<int>(std::floor(std::log2(size)))) : 1;
  }

  void add_rows(std::vector<Direction>& rows) const {
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
      if (!is_floating(outputs_[k].dtype())) continue;
      const std::int64_t n = outputs_[k].elements();
      for (const std::int64_t place : chosen(n, fmt::format("output {}", k)))
        rows.push_back({.of = k, .element = place});
      if (n <= most_) continue;
      Random random(seed_of(options_.seed, fmt::format("weights {}", k)));
      for (int more = 0; more < std::max(1, options_.directions); ++more)
        rows.push_back({.of = k, .numbers = {signed_numbers(random, n)}});
    }
  }

  const Tensors& inputs_;
  const Tensors& outputs_;
  const GradcheckOptions& options_;
  double work_, largest_ = 0;
  std::int64_t most_ = 0;  // elements of an input or output that are all checked
};

}  // namespace

std::vector<Values> values_of(const Tensors& tensors) {
  std::vector<Values> values;
  for (const Tensor& x : tensors) values.push_back(is_floating(x.dtype()) ? x.values<double>() : Values());
  return values;
}

// With the roundings of the sum of blocks summed too (W. Kahan, 1965): those of many terms would hide what small steps
// change.
double dot(const Values& a, const Values& b) {
  constexpr std::size_t kLanes = 8, kBlock = 32 * kLanes;
  double total = 0, lost = 0;
  for (std::size_t first = 0; first < a.size(); first += kBlock) {
    const std::size_t last = std::min(a.size(), first + kBlock);
    double lanes[kLanes] = {};
    std::size_t k = first;
    for (; k + kLanes <= last; k += kLanes)
      for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += a[k + lane] * b[k + lane];
    for (; k < last; ++k) lanes[0] += a[k] * b[k];
    const double term = std::accumulate(lanes, lanes + kLanes, 0.0) - lost, sum = total + term;
    lost = (sum - total) - term;
    total = sum;
  }
  return total;
}

double along(const Direction& column, const std::vector<Values>& gradients) {
  if (column.element) return gradients[column.of][static_cast<std::size_t>(*column.element)];
  double derivative = 0;
  for (std::size_t k = 0; k < gradients.size(); ++k) derivative += dot(gradients[k], column.numbers[k]);
  return derivative;
}

double longest(const Direction& column) {
  double most = 0;
  for (const Values& numbers : column.numbers)
    for (const double number : numbers) most = std::max(most, std::abs(number));
  return most;
}

Differences::Place place_of(const Direction& column, const std::vector<Values>& values) {
  if (column.element) return {values[column.of][static_cast<std::size_t>(*column.element)], true};
  double largest = 0;  // in what the direction moves it by
  for (std::size_t k = 0; k < values.size(); ++k)
    for (std::size_t place = 0; place < values[k].size(); ++place)
      if (const double number = column.numbers[k][place]; number != 0)
        largest = std::max(largest, std::abs(values[k][place] / number));
  return {largest, false, longest(column)};
}

std::pair<Tensors, double> moved(const Direction& column, const Tensors& inputs, const std::vector<Values>& values,
                                 double t) {
  Tensors at = inputs;
  const auto put = [&](std::size_t input, const Values& to) {
    at[input] = from_values(to, inputs[input].shape(), inputs[input].dtype());
  };
  if (column.element) {
    Values to = values[column.of];
    const auto place = static_cast<std::size_t>(*column.element);
    to[place] += t;
    put(column.of, to);
    return {at, at[column.of].at<double>(*column.element) - values[column.of][place]};
  }
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (!is_floating(inputs[k].dtype())) continue;
    Values to = values[k];
    for (std::size_t place = 0; place < to.size(); ++place) to[place] += t * column.numbers[k][place];
    put(k, to);
  }
  return {at, t};
}

Directions directions_of(const Tensors& inputs, const Tensors& outputs, const GradcheckOptions& options) {
  return Choice(inputs, outputs, options).made();
}

}  // namespace twopass
