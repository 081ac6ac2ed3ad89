#include <twopass/graph/autodiff/comparison.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <twopass/core/random.h>
#include <twopass/graph/autodiff/alone.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/differences.h>
#include <twopass/graph/autodiff/judgement.h>
#include <twopass/graph/autodiff/roundings.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/keeping.h>
#include <twopass/ops/reduction.h>

namespace twopass {
namespace {

using Values = std::vector<double>;

constexpr std::size_t kTogether = static_cast<std::size_t>(-1);
constexpr std::int64_t kMany = 256;     // elements
constexpr double kASecond = 1e9;        // floating-point operations
constexpr double kOfAComparison = 400;  // of one derivative with its differences
constexpr double kOfAnElement = 20;     // of an input, which is copied to be moved
constexpr int kIdle = 64;               // elements on which nothing depends

// A direction in the space of one input, or of all together: one element, or numbers for each.
struct Direction {
  std::size_t of = 0;  // which input or output; kTogether for all inputs
  std::optional<std::int64_t> element = {};
  std::vector<Values> numbers = {};  // one list per input; for an output, one list
};

double dot(const Values& a, const Values& b) {
  double total = 0;
  for (std::size_t k = 0; k < a.size(); ++k) total += a[k] * b[k];
  return total;
}

// Between 0.5 and 1.5 in size, of either sign: nothing is left out, nothing cancels by design.
Values signed_numbers(Random& random, std::int64_t n) {
  Values numbers(static_cast<std::size_t>(n));
  for (double& x : numbers) x = (0.5 + random.uniform()) * (random.below(2) ? 1 : -1);
  return numbers;
}

class Comparison {
 public:
  Comparison(const ManyFunction& f, const Tensors& inputs, int order, double epsilon, const GradcheckOptions& options)
      : f_(f), order_(order), epsilon_(epsilon), options_(options), inputs_(inputs) {
    for (const Tensor& x : inputs) values_.push_back(is_floating(x.dtype()) ? x.values<double>() : Values());
    variables_ = as_variables(inputs);
    const RecordingScope on(true);
    const KeepingScope keeping;
    outputs_ = f(variables_);
    here_ = parts(outputs_);
  }

  void run(GradcheckReport& report) {
    choose_directions();
    differentiate();
    seen_here_ = seen(here_);
    for (std::size_t column = 0; column < columns_.size(); ++column) compare_column(column);
    for (GradcheckPair& pair : pairs_) {
      if (pair.verdict == Verdict::pass && vacuous_[static_cast<std::size_t>(&pair - pairs_.data())])
        pair.verdict = Verdict::vacuous;
      report.add(std::move(pair));
    }
  }

 private:
  bool counts(std::size_t input) const { return is_floating(inputs_[input].dtype()); }

  // Every element, or some and numbers for all.
  std::vector<std::int64_t> chosen(std::int64_t n, const std::string& what) const {
    std::vector<std::int64_t> places(static_cast<std::size_t>(n));
    for (std::size_t k = 0; k < places.size(); ++k) places[k] = static_cast<std::int64_t>(k);
    if (n <= most_) return places;
    places = Random(seed_of(options_.seed, what)).permutation(n);
    places.resize(static_cast<std::size_t>(std::max<std::int64_t>(1, most_ / 8)));
    return places;
  }

  // All that one second pays for, or of large inputs and outputs a part that ten seconds pay for. A column takes eight
  // passes or more, a row two backward passes of three.
  std::int64_t most_elements() const {
    if (options_.elements > 0) return options_.elements;
    const double work = work_behind(outputs_);
    const auto cost = [&](std::int64_t most) {
      const auto directions = [&](const Tensors& tensors) {
        double count = 0;
        for (const Tensor& x : tensors)
          if (is_floating(x.dtype())) count += static_cast<double>(x.elements() <= most ? x.elements() : most / 8);
        return count;
      };
      double largest = 0;
      for (const Tensor& x : inputs_) largest = std::max(largest, static_cast<double>(x.elements()));
      const double columns = directions(inputs_), rows = directions(outputs_);
      return (work + kOfAnElement * largest) * 8 * columns + work * 6 * rows + kOfAComparison * rows * columns;
    };
    constexpr auto kAll = std::numeric_limits<std::int64_t>::max();
    if (cost(kAll) <= kASecond) return kAll;
    std::int64_t most = kMany;
    while (most > 32 && cost(most) > 10 * kASecond) most /= 2;
    return most;
  }

  void choose_directions() {
    most_ = most_elements();
    std::int64_t total = 0;
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      if (!counts(k)) continue;
      total += inputs_[k].elements();
      for (const std::int64_t place : chosen(inputs_[k].elements(), fmt::format("input {}", k)))
        columns_.push_back({.of = k, .element = place});
    }
    // All inputs at once: what each element does by itself may be a subgradient without the whole being one.
    for (int k = 0; k <= options_.directions && total > 1; ++k) {
      Random random(seed_of(options_.seed, fmt::format("direction {}", k)));
      Direction all{.of = kTogether};
      for (const Tensor& x : inputs_)
        all.numbers.push_back(!is_floating(x.dtype()) ? Values()
                              : k == 0                ? Values(static_cast<std::size_t>(x.elements()), 1)
                                                      : signed_numbers(random, x.elements()));
      columns_.push_back(std::move(all));
    }
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
      if (!is_floating(outputs_[k].dtype())) continue;
      const std::int64_t n = outputs_[k].elements();
      for (const std::int64_t place : chosen(n, fmt::format("output {}", k)))
        rows_.push_back({.of = k, .element = place});
      if (n <= most_) continue;
      Random random(seed_of(options_.seed, fmt::format("weights {}", k)));
      for (int more = 0; more < std::max(1, options_.directions); ++more)
        rows_.push_back({.of = k, .numbers = {signed_numbers(random, n)}});
    }
    for (std::size_t output = 0; output < outputs_.size(); ++output) {
      if (!is_floating(outputs_[output].dtype())) continue;
      for (std::size_t input = 0; input < inputs_.size(); ++input)
        if (counts(input)) add_pair(input, output, inputs_[input].elements());
      if (total > 1) add_pair(kTogether, output, options_.directions + 1);
    }
  }

  void add_pair(std::size_t input, std::size_t output, std::int64_t columns) {
    const auto named = [](const std::vector<std::string>& names, std::size_t k, const std::string& otherwise) {
      return k < names.size() ? names[k] : otherwise;
    };
    GradcheckPair pair;
    pair.input =
        input == kTogether ? "all inputs together" : named(options_.names, input, fmt::format("input {}", input));
    if (outputs_.size() > 1 || !options_.outputs.empty())
      pair.output = named(options_.outputs, output, fmt::format("output {}", output));
    pair.order = order_;
    pair.elements = columns * outputs_[output].elements();
    pairs_.push_back(std::move(pair));
    vacuous_.push_back(true);
    of_pair_.emplace_back(input, output);
  }

  std::size_t pair_of(std::size_t input, std::size_t output) const {
    return static_cast<std::size_t>(std::find(of_pair_.begin(), of_pair_.end(), std::pair(input, output)) -
                                    of_pair_.begin());
  }

  // J of every row and column, a backward pass a row.
  void differentiate() {
    for (const Direction& row : rows_) {
      const Tensor& y = outputs_[row.of];
      Values weights = row.element ? Values(static_cast<std::size_t>(y.elements())) : row.numbers[0];
      if (row.element) weights[static_cast<std::size_t>(*row.element)] = 1;
      const Tensor seed = from_values(weights, y.shape(), y.dtype());
      const Gradients found = y.recorded() ? backward(y, {.seed = seed}) : Gradients();
      const Roundings roundings = roundings_of({y}, {seed});
      noise_.push_back(roundings.error);
      sizes_.push_back(roundings.size);
      std::vector<Values> gradients;
      for (std::size_t k = 0; k < inputs_.size(); ++k)
        gradients.push_back(counts(k) ? found[variables_[k]].values<double>() : Values());
      Values& of_row = analytic_.emplace_back();
      double& largest = largest_.emplace_back(0);
      for (const Direction& column : columns_) {
        double derivative = 0;
        if (column.element)
          derivative = gradients[column.of][static_cast<std::size_t>(*column.element)];
        else
          for (std::size_t k = 0; k < inputs_.size(); ++k) derivative += dot(gradients[k], column.numbers[k]);
        of_row.push_back(derivative);
        if (column.element && std::isfinite(derivative)) largest = std::max(largest, std::abs(derivative));
      }
    }
  }

  std::vector<Values> parts(const Tensors& outputs) const {
    std::vector<Values> parts;
    for (const Tensor& y : outputs) parts.push_back(is_floating(y.dtype()) ? y.values<double>() : Values());
    return parts;
  }

  // What each row sees of the outputs.
  Values seen(const std::vector<Values>& outputs) const {
    Values seen;
    for (const Direction& row : rows_)
      seen.push_back(row.element ? outputs[row.of][static_cast<std::size_t>(*row.element)]
                                 : dot(outputs[row.of], row.numbers[0]));
    return seen;
  }

  Differences::Point moved(const Direction& column, double t) const {
    Tensors at = inputs_;
    double really = t;
    const auto put = [&](std::size_t input, const Values& values) {
      at[input] = from_values(values, inputs_[input].shape(), inputs_[input].dtype());
    };
    if (column.element) {
      Values values = values_[column.of];
      const auto place = static_cast<std::size_t>(*column.element);
      values[place] += t;
      put(column.of, values);
      really = at[column.of].at<double>(*column.element) - values_[column.of][place];
    } else {
      for (std::size_t k = 0; k < inputs_.size(); ++k) {
        if (!counts(k)) continue;
        Values values = values_[k];
        for (std::size_t place = 0; place < values.size(); ++place) values[place] += t * column.numbers[k][place];
        put(k, values);
      }
    }
    // Higher orders differentiate inside, and record what they need for that themselves.
    const RecordingScope off(false);
    return {really, seen(parts(f_(at)))};
  }

  Differences::Place place_of(const Direction& column) const {
    if (column.element) return {values_[column.of][static_cast<std::size_t>(*column.element)], true};
    double largest = 0;
    for (const Values& values : values_)
      for (const double x : values) largest = std::max(largest, std::abs(x));
    return {largest, false};
  }

  // Of a row's derivatives and of what it changes by near by, at most 1.
  double size_of(std::size_t row, const Differences& differences) const {
    return std::min(std::max({differences.size(row), largest_[row], sizes_[row] / differences.scale()}), 1.0);
  }

  void compare_column(std::size_t number) {
    const Direction& column = columns_[number];
    Differences differences([&](double t) { return moved(column, t); }, seen_here_, place_of(column), epsilon_, noise_);
    // That nothing depends on an element is looked at more closely: a flat place hides what is beside it. Where that is
    // so for many, the first tell.
    const bool idle =
        std::all_of(analytic_.begin(), analytic_.end(), [&](const Values& row) { return row[number] == 0; });
    while (idle && !rows_.empty() && looked_closely_ < kIdle && !differences.has_looked_everywhere() &&
           differences.refine(0)) {
    }
    looked_closely_ += idle ? 1 : 0;
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      const double size = size_of(row, differences);
      const auto settled = [&] {
        const Slope slope = differences.slope(row);
        if (slope.kink || (slope.disputed && !differences.has_tried_all())) return false;
        const Judgement found = judge(analytic_[row][number], slope, size, !column.element, options_);
        const double off = std::abs(analytic_[row][number] - slope.value);
        if (found.verdict == Verdict::pass &&
            off <= options_.absolute * size + options_.relative * std::abs(slope.value))
          return true;
        // Only what no smaller step contradicts is wrong.
        return found.sure && (found.verdict == Verdict::pass || differences.has_looked_closely());
      };
      while (!settled() && differences.refine(row)) {
      }
    }
    for (std::size_t row = 0; row < rows_.size(); ++row)
      note(row, number, differences.slope(row), size_of(row, differences));
  }

  void note(std::size_t row, std::size_t column, const Slope& slope, double size_here) {
    const double analytic = analytic_[row][column];
    const Judgement found = judge(analytic, slope, size_here, !columns_[column].element, options_);
    const std::size_t place = pair_of(columns_[column].of, rows_[row].of);
    GradcheckPair& pair = pairs_[place];
    vacuous_[place] = vacuous_[place] && analytic == 0 && found.verdict == Verdict::pass;
    const double before = pair.bound > 0 ? pair.absolute_error / pair.bound : -1;
    double now = found.off / found.bound;
    if (!(now >= 0)) now = INFINITY;
    if (pair.tried++ > 0 && (found.verdict < pair.verdict || (found.verdict == pair.verdict && now <= before))) return;
    pair.verdict = found.verdict;
    pair.input_index.clear();
    pair.output_index.clear();
    if (columns_[column].element)
      pair.input_index = inputs_[columns_[column].of].shape().index_of(*columns_[column].element);
    if (rows_[row].element && outputs_[rows_[row].of].elements() > 1)
      pair.output_index = outputs_[rows_[row].of].shape().index_of(*rows_[row].element);
    pair.analytic = analytic;
    pair.numerical = found.numerical;
    pair.below = slope.below;
    pair.above = slope.above;
    pair.absolute_error = found.off;
    const double size = std::max(std::abs(analytic), std::abs(found.numerical));
    pair.relative_error = size > 0 ? found.off / size : 0;
    pair.bound = found.bound;
    pair.uncertainty = slope.error;
  }

  const ManyFunction& f_;
  int order_;
  double epsilon_;
  int looked_closely_ = 0;
  std::int64_t most_ = 0;  // elements of an input or output that are all checked
  const GradcheckOptions& options_;
  const Tensors& inputs_;
  std::vector<Values> values_;  // of the inputs
  Tensors variables_, outputs_;
  std::vector<Values> here_;  // of the outputs
  Values seen_here_;          // by each row
  Values noise_, sizes_;      // of each row: by roundings on the way, of what it is made
  Values largest_;            // derivative of each row for an element
  std::vector<Direction> columns_, rows_;
  std::vector<Values> analytic_;  // row by row
  std::vector<GradcheckPair> pairs_;
  std::vector<std::pair<std::size_t, std::size_t>> of_pair_;
  std::vector<bool> vacuous_;
};

}  // namespace

Tensors as_variables(const Tensors& tensors) {
  Tensors variables;
  for (const Tensor& x : tensors) variables.push_back(is_floating(x.dtype()) ? variable(detach(x)) : x);
  return variables;
}

Tensor weighted_sum(const Tensors& outputs, std::uint64_t seed) {
  Tensor total;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const Tensor& y = outputs[k];
    if (!is_floating(y.dtype())) continue;
    Random random(seed_of(seed, fmt::format("projection {}", k)));
    const Tensor part = sum(y * random.uniform(y.shape(), y.dtype(), 0.5, 1.5));
    total = total.defined() ? total + part : part;
  }
  return total;
}

ManyFunction gradient_of(ManyFunction f, std::uint64_t seed) {
  return [f = std::move(f), seed](const Tensors& at) {
    const RecordingScope on(true);
    bool record = false;
    Tensors points = at, of;
    for (Tensor& x : points) {
      if (!is_floating(x.dtype())) continue;
      record = record || x.recorded();
      x = x.recorded() ? identity(x) : variable(x);
      of.push_back(x);
    }
    const Tensor total = weighted_sum(f(points), seed);
    if (total.defined() && total.recorded()) return gradients(total, of, {.record = record});
    Tensors none;
    for (const Tensor& x : of) none.push_back(zeros(x.shape(), x.dtype()));
    return none;
  };
}

void compare(const ManyFunction& f, const Tensors& inputs, int order, double epsilon, const GradcheckOptions& options,
             GradcheckReport& report) {
  Comparison(f, inputs, order, epsilon, options).run(report);
}

}  // namespace twopass
