#include <twopass/graph/autodiff/comparison.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>

#include <twopass/core/error.h>
#include <twopass/core/random.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/graph/autodiff/beside.h>
#include <twopass/graph/autodiff/coarse.h>
#include <twopass/graph/autodiff/differences.h>
#include <twopass/graph/autodiff/directions.h>
#include <twopass/graph/autodiff/judgement.h>
#include <twopass/graph/autodiff/nearby.h>
#include <twopass/graph/autodiff/roundings.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/keeping.h>
#include <twopass/ops/reduction.h>

namespace twopass {
namespace {

using Values = std::vector<double>;

constexpr std::size_t kTogether = Direction::kTogether;

class Comparison {
 public:
  Comparison(const ManyFunction& f, const Tensors& inputs, int order, double epsilon, const GradcheckOptions& options)
      : f_(f),
        order_(order),
        epsilon_(epsilon),
        options_(options),
        inputs_(inputs),
        values_(values_of(inputs)),
        beside_{f, inputs, values_} {
    variables_ = as_variables(inputs);
    const RecordingScope on(true);
    const KeepingScope keeping;
    outputs_ = f(variables_);
    here_ = values_of(outputs_);
    for (const Values& values : here_)
      finite_.push_back(std::all_of(values.begin(), values.end(), [](double y) { return std::isfinite(y); }));
    coarse_ = coarse_calls(outputs_, options.seed);
  }

  void run(GradcheckReport& report) {
    Directions chosen = directions_of(inputs_, outputs_, options_);
    columns_ = std::move(chosen.columns);
    rows_ = std::move(chosen.rows);
    add_pairs();
    differentiate();
    kinks_.resize(rows_.size());
    open_.resize(rows_.size());
    seen_here_ = seen(here_);
    for (std::size_t column = 0; column < columns_.size(); ++column) compare_column(column);
    bool unsettled = false;
    for (GradcheckPair& pair : pairs_) {
      if (pair.verdict == Verdict::pass && vacuous_[static_cast<std::size_t>(&pair - pairs_.data())])
        pair.verdict = Verdict::vacuous;
      unsettled = unsettled || pair.verdict >= Verdict::unreliable;
      report.add(std::move(pair));
    }
    if (unsettled && !refused_.empty()) report.note("refused near by: " + refused_);
  }

 private:
  bool counts(std::size_t input) const { return is_floating(inputs_[input].dtype()); }

  void add_pairs() {
    std::int64_t total = 0;
    for (std::size_t k = 0; k < inputs_.size(); ++k) total += counts(k) ? inputs_[k].elements() : 0;
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

  Tensor seed_of_row(std::size_t number) const {
    const Direction& row = rows_[number];
    const Tensor& y = outputs_[row.of];
    Values weights = row.element ? Values(static_cast<std::size_t>(y.elements())) : row.numbers[0];
    if (row.element) weights[static_cast<std::size_t>(*row.element)] = 1;
    return from_values(weights, y.shape(), y.dtype());
  }

  // J of every row and column, a backward pass a row.
  void differentiate() {
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      const Tensor& y = outputs_[rows_[row].of];
      const Tensor seed = seed_of_row(row);
      const Gradients found = y.recorded() ? backward(y, {.seed = seed}) : Gradients();
      const Roundings roundings = roundings_of({y}, {seed}, coarse_);
      noise_.all.push_back(roundings.error);
      noise_.inside.push_back(roundings.inside);
      sizes_.push_back(roundings.size);
      std::vector<Values> gradients;
      for (std::size_t k = 0; k < inputs_.size(); ++k)
        gradients.push_back(counts(k) ? found[variables_[k]].values<double>() : Values());
      Values& of_row = analytic_.emplace_back();
      double& largest = largest_.emplace_back(0);
      for (const Direction& column : columns_) {
        const double derivative = along(column, gradients);
        of_row.push_back(derivative);
        if (column.element && std::isfinite(derivative)) largest = std::max(largest, std::abs(derivative));
      }
    }
  }

  // What each row sees of the outputs.
  Values seen(const std::vector<Values>& outputs) const {
    Values seen;
    for (const Direction& row : rows_)
      seen.push_back(row.element ? outputs[row.of][static_cast<std::size_t>(*row.element)]
                                 : dot(outputs[row.of], row.numbers[0]));
    return seen;
  }

  Differences::Point seen_beside(const Direction& column, double t) const {
    const auto [at, really] = moved(column, inputs_, values_, t);
    // Higher orders differentiate inside, and record what they need for that themselves.
    const RecordingScope off(false);
    try {
      return {really, seen(values_of(f_(at)))};
    } catch (const Error& error) {
      // Beyond what f takes there is nothing to see; smaller steps stay within.
      if (refused_.empty()) refused_ = std::string(error.what()).substr(0, std::string(error.what()).find('\n'));
      return {really, Values(rows_.size(), std::numeric_limits<double>::quiet_NaN())};
    }
  }

  // Of a row's derivatives and of what it changes by near by, at most 1. Along a direction through small numbers
  // derivatives are small.
  double size_of(std::size_t row, const Direction& column, const Differences& differences) const {
    const double derivative = largest_[row] * (column.element ? 1 : std::min(1.0, longest(column)));
    return std::min(std::max({differences.size(row), derivative, sizes_[row] / differences.scale()}), 1.0);
  }

  void compare_column(std::size_t number) {
    const Direction& column = columns_[number];
    Differences differences([&](double t) { return seen_beside(column, t); }, seen_here_, place_of(column, values_),
                            epsilon_, noise_);
    if (column.closely) differences.glance();
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      const double size = size_of(row, column, differences);
      const auto settled = [&] {
        const Slope slope = differences.slope(row);
        if (slope.kink || (slope.disputed && !differences.has_tried_all())) return false;
        const Judgement found = judge(analytic_[row][number], slope, size, !column.element, options_);
        const double off = std::abs(analytic_[row][number] - slope.value);
        if (found.verdict == Verdict::pass &&
            off <= options_.absolute * size + options_.relative * std::abs(slope.value))
          return !slope.contradicted || differences.has_looked_closely();
        // Only what no smaller step contradicts is wrong.
        return found.sure && found.verdict == Verdict::pass;
      };
      while (!settled() && differences.refine(row)) {
      }
    }
    for (std::size_t row = 0; row < rows_.size(); ++row) note(row, number, differences);
  }

  void note(std::size_t row, std::size_t column, const Differences& differences) {
    const double analytic = analytic_[row][column];
    Slope slope = differences.slope(row);
    Judgement found =
        judge(analytic, slope, size_of(row, columns_[column], differences), !columns_[column].element, options_);
    if (found.verdict == Verdict::fail && cannot_be_told(row, column, slope, found, differences))
      found.verdict = Verdict::unreliable;
    if (found.verdict == Verdict::unreliable && columns_[column].element)
      open_[row].push_back({column, found.off <= 1000 * slope.error ? slope.error : found.off});
    if (slope.kink && columns_[column].element && found.verdict <= Verdict::kink)
      kinks_[row].push_back({column, slope.below, slope.above});
    const std::size_t place = pair_of(columns_[column].of, rows_[row].of);
    GradcheckPair& pair = pairs_[place];
    vacuous_[place] = vacuous_[place] && analytic == 0 && found.verdict == Verdict::pass;
    const double before = pair.bound > 0 ? pair.absolute_error / pair.bound : -1;
    double now = found.off / found.bound;
    if (!(now >= 0)) now = INFINITY;
    const auto known = [&] { return found.verdict < pair.verdict || (found.verdict == pair.verdict && now <= before); };
    if (pair.tried++ > 0 && known()) return;
    double of_gradient = 0;
    if (found.verdict == Verdict::fail && !columns_[column].element) {
      if (std::isinf(analytic) && too_steep(column, found.numerical)) found.verdict = Verdict::unreliable;
      add_up_kinks(row, column, analytic, slope, found);
      if (pair.tried > 1 && known()) return;
    }
    if (narrow() && found.verdict >= Verdict::unreliable && std::isfinite(analytic)) {
      look_beside(row, column, size_of(row, columns_[column], differences), slope, found);
      if (pair.tried > 1 && known()) return;
    }
    if (found.verdict == Verdict::fail && std::isfinite(analytic)) {
      of_gradient = 4 * rounding_of(row, column);
      if (found.off <= found.bound + of_gradient) found.verdict = Verdict::unreliable;
      if (pair.tried > 1 && known()) return;
    }
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
    pair.analytic_uncertainty = of_gradient;
  }

  // Whether what looks wrong need not be.
  bool cannot_be_told(std::size_t row, std::size_t column, const Slope& slope, const Judgement& found,
                      const Differences& differences) {
    const double analytic = analytic_[row][column];
    return differences.sees_closer(row, analytic, slope) || is_lost(analytic, slope, values_) ||
           (!std::isfinite(analytic) && !finite_[rows_[row].of]) || is_left_open(row, column, found.off) ||
           may_hide(row, column, found.off) || steps_over_treads(row, column, differences.smallest());
  }

  // Whether elements of which nothing could be said may make up for so much along a direction.
  bool is_left_open(std::size_t row, std::size_t column, double off) const {
    if (columns_[column].element) return false;
    double may_be = 0;
    for (const Open& open : open_[row]) {
      const Direction& of = columns_[open.column];
      const double number = columns_[column].numbers[of.of][static_cast<std::size_t>(*of.element)];
      if (number != 0) may_be += std::isfinite(open.by) ? std::abs(number) * open.by : INFINITY;
    }
    return may_be > 0 && !(off > 4 * may_be);
  }

  // Whether treads of stairs are shorter than the smallest steps along a column, as those of round are at 1e15.
  bool steps_over_treads(std::size_t row, std::size_t column, double t) {
    const std::size_t output = rows_[row].of;
    const auto [treads, asked] = treads_.try_emplace(output);
    if (asked) treads->second = calls_of_treads({outputs_[output]});
    return !treads->second.empty() && (beside_.steps_over(output, treads->second, columns_[column], t) ||
                                       beside_.steps_over(output, treads->second, columns_[column], -t));
  }

  // Whether a term that roundings hide may change a derivative by so much, as the sine in 1e3 x + sin x at 1e14 does:
  // what is moved is so large that its steps may be longer than waves, and the slope of a wave is about as large as it
  // is somewhere beside.
  bool may_hide(std::size_t row, std::size_t column, double off) const {
    constexpr double kLarge = 1 << 20;
    constexpr int kPoints = 8;
    const Direction& along = columns_[column];
    const double size = along.element ? std::abs(values_[along.of][static_cast<std::size_t>(*along.element)]) : 1;
    const double moves = along.element ? size : longest(along);
    if (moves < kLarge || !std::isfinite(off)) return false;
    double hidden = 0;
    for (int k = 0; k < kPoints; ++k) {
      const double share = (k % 2 ? -1 : 1) * (1 + 0.37 * k) / kLarge;
      hidden = std::max(hidden, beside_.hidden(rows_[row].of, seed_of_row(row), along, size * share));
    }
    return off <= 4 * hidden * (along.element ? 1 : moves);
  }

  // Kinks of elements that have nothing to do with one another may cancel along a direction: clip at both its bounds.
  // Where their one-sided slopes add up to what the direction sees, each was judged by itself.
  void add_up_kinks(std::size_t row, std::size_t column, double analytic, Slope& slope, Judgement& found) const {
    if (!std::isfinite(analytic)) return;
    double above = analytic, below = analytic, least = analytic, most = analytic, size = 0;
    for (const Kink& kink : kinks_[row]) {
      const Direction& of = columns_[kink.column];
      const double number = columns_[column].numbers[of.of][static_cast<std::size_t>(*of.element)];
      const double up = number * (kink.above - analytic_[row][kink.column]);
      const double down = number * (kink.below - analytic_[row][kink.column]);
      above += number > 0 ? up : down;
      below += number > 0 ? down : up;
      least += std::min(up, down);
      most += std::max(up, down);
      size += std::abs(up) + std::abs(down);
    }
    const double slack = found.bound + 1e-6 * size;
    if (!(std::abs(above - slope.value) <= slack && std::abs(below - slope.value) <= slack)) return;  // not for NaN
    slope.below = least;
    slope.above = most;
    found = {Verdict::kink, found.numerical, found.bound, 0, false};
  }

  // Whether the derivative for an element may be more than f64 holds where that along a direction is not: log x at
  // 1e-310.
  bool too_steep(std::size_t column, double numerical) const {
    for (const Values& numbers : columns_[column].numbers)
      for (const double number : numbers)
        if (number != 0 && std::isinf(numerical / number)) return true;
    return false;
  }

  bool narrow() const { return epsilon_ > 1e-10; }

  // The steps of f32 are so long that kinks of a network lie within them, and smaller ones are lost in roundings. There
  // the record must agree with the difference in the mean.
  void look_beside(std::size_t row, std::size_t column, double size, Slope& slope, Judgement& found) const {
    const double analytic = analytic_[row][column];
    if (!std::isfinite(slope.central)) return;
    const auto nearby =
        look_nearby([&](double t) { return beside_.derivative(rows_[row].of, seed_of_row(row), columns_[column], t); },
                    analytic, slope.reach);
    const double tolerance = options_.absolute * size +
                             options_.relative * std::max(std::abs(slope.central), std::abs(analytic)) + slope.rounding;
    if (!nearby || !explains(*nearby, slope.central, tolerance)) return;
    const bool shown = std::abs(analytic - slope.central) > 4 * (tolerance + nearby->error);
    slope.below = nearby->least;
    slope.above = nearby->most;
    found = {shown ? Verdict::kink : Verdict::unreliable, found.numerical, found.bound, shown ? 0 : found.off, false};
  }

  // What roundings on the way back do to one derivative.
  double rounding_of(std::size_t row, std::size_t column) const {
    Tensors of, directions, seeds(outputs_.size());
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      if (!counts(k)) continue;
      const Direction& along = columns_[column];
      Values numbers = along.element ? Values(values_[k].size()) : along.numbers[k];
      if (along.element && along.of == k) numbers[static_cast<std::size_t>(*along.element)] = 1;
      of.push_back(variables_[k]);
      directions.push_back(from_values(numbers, inputs_[k].shape(), inputs_[k].dtype()));
    }
    seeds[rows_[row].of] = seed_of_row(row);
    return rounding_of_derivative(outputs_, seeds, of, directions, coarse_);
  }

  const ManyFunction& f_;
  int order_;
  double epsilon_;
  const GradcheckOptions& options_;
  const Tensors& inputs_;
  std::vector<Values> values_;  // of the inputs
  const Beside beside_;
  Tensors variables_, outputs_;
  std::vector<Values> here_;  // of the outputs
  Values seen_here_;          // by each row
  std::vector<AloneCall> coarse_;
  Differences::Noise noise_;  // of each row, by roundings on the way
  Values sizes_;              // of each row: of what it is made
  Values largest_;            // derivative of each row for an element
  std::vector<Direction> columns_, rows_;
  std::vector<Values> analytic_;  // row by row
  struct Kink {
    std::size_t column;
    double below, above;
  };
  std::vector<std::vector<Kink>> kinks_;  // of elements, for each row
  struct Open {
    std::size_t column;
    double by;
  };
  std::vector<std::vector<Open>> open_;                   // elements that are unreliable, for each row
  std::map<std::size_t, std::vector<AloneCall>> treads_;  // behind each output, once they are asked for
  std::vector<bool> finite_;                              // whether all of each output is
  std::vector<GradcheckPair> pairs_;
  std::vector<std::pair<std::size_t, std::size_t>> of_pair_;
  std::vector<bool> vacuous_;
  mutable std::string refused_;  // what f says of a point beside
};

}  // namespace

void compare(const ManyFunction& f, const Tensors& inputs, int order, double epsilon, const GradcheckOptions& options,
             GradcheckReport& report) {
  Comparison(f, inputs, order, epsilon, options).run(report);
}

}  // namespace twopass
