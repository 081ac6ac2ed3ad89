// The forward-backward recursion of connectionist temporal classification (Graves et al., 2006, section 4.1), on the
// logarithms of probabilities. For the .cpp files of this folder.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace twopass::ctc_kernels {

/// A number and its derivative in one direction. -inf, the logarithm of nothing, has none.
struct Dual {
  double value = 0, tangent = 0;
};
inline Dual operator+(Dual a, Dual b) { return {a.value + b.value, a.tangent + b.tangent}; }
inline Dual operator-(Dual a, Dual b) { return {a.value - b.value, a.tangent - b.tangent}; }
inline double value_of(double x) { return x; }
inline double value_of(const Dual& x) { return x.value; }

/// The probability whose logarithm is x, or its derivative where x has one; that of nothing is 0.
inline double probability(double x) { return std::exp(x); }
inline double probability(const Dual& x) {
  const double p = std::exp(x.value);
  return p == 0 ? 0 : p * x.tangent;
}

/// log Σ e^x of n numbers.
template <typename N>
N log_sum(const N* x, std::int64_t n) {
  double most = value_of(x[0]), sum = 0, tangent = 0;
  for (std::int64_t k = 1; k < n; ++k) most = std::max(most, value_of(x[k]));
  const double shift = std::isinf(most) ? 0 : most;
  for (std::int64_t k = 0; k < n; ++k) {
    sum += std::exp(value_of(x[k]) - shift);
    if constexpr (std::is_same_v<N, Dual>) tangent += probability(Dual{x[k].value - shift, x[k].tangent});
  }
  const double value = shift + std::log(sum);
  if constexpr (std::is_same_v<N, Dual>)
    return {value, sum == 0 ? 0 : tangent / sum};
  else
    return value;
}

/// One row of a batch: `steps` rows of `classes` log-probabilities, and its labels with blanks before, between and
/// after them. N is double, or Dual for derivatives of what it gives.
template <typename N>
class Alignments {
 public:
  Alignments(std::vector<N> log_probabilities, std::int64_t classes, const std::int64_t* labels, std::int64_t count,
             std::int64_t blank)
      : p_(std::move(log_probabilities)),
        classes_(classes),
        steps_(static_cast<std::int64_t>(p_.size()) / classes),
        states_(2 * count + 1),
        symbols_(static_cast<std::size_t>(states_), blank) {
    for (std::int64_t k = 0; k < count; ++k) symbols_[static_cast<std::size_t>(2 * k + 1)] = labels[k];
    run_forward();
  }

  /// log of the probability of all alignments.
  N total() const { return total_; }
  const std::vector<N>& log_probabilities() const { return p_; }

  /// Calls f(step, class, log of the probability of being there, given the labels) for each step and state.
  template <typename F>
  void for_states(const F& f) const {
    std::vector<N> after(static_cast<std::size_t>(states_), none()), next = after;
    after.back() = {};
    if (states_ > 1) after[after.size() - 2] = {};
    for (std::int64_t step = steps_ - 1; step >= 0; --step) {
      for (std::int64_t s = 0; s < states_; ++s)
        f(step, symbol(s),
          before_[static_cast<std::size_t>(step * states_ + s)] + after[static_cast<std::size_t>(s)] - total_);
      for (std::int64_t s = 0; s < states_; ++s) {
        N from[3];
        std::int64_t n = 0;
        for (std::int64_t to = s; to < std::min(states_, s + 3); ++to)
          if (leads(s, to)) from[n++] = after[static_cast<std::size_t>(to)] + log_probability(step, symbol(to));
        next[static_cast<std::size_t>(s)] = log_sum(from, n);
      }
      std::swap(after, next);
    }
  }

 private:
  static N none() { return N{-std::numeric_limits<double>::infinity()}; }
  const N& log_probability(std::int64_t step, std::int64_t k) const {
    return p_[static_cast<std::size_t>(step * classes_ + k)];
  }
  std::int64_t symbol(std::int64_t state) const { return symbols_[static_cast<std::size_t>(state)]; }
  // A blank may be left out between two labels that differ.
  bool leads(std::int64_t from, std::int64_t to) const {
    return to - from < 2 || (to % 2 == 1 && symbol(to) != symbol(from));
  }

  // before_[t, s] = log of the probability of the alignments of the first labels that are in s at t, t included
  void run_forward() {
    before_.assign(static_cast<std::size_t>(steps_ * states_), none());
    for (std::int64_t step = 0; step < steps_; ++step)
      for (std::int64_t s = 0; s < states_; ++s) {
        N from[3];
        std::int64_t n = 0;
        if (step == 0) {
          from[n++] = s < 2 ? N{} : none();
        } else {
          for (std::int64_t at = std::max<std::int64_t>(0, s - 2); at <= s; ++at)
            if (leads(at, s)) from[n++] = before_[static_cast<std::size_t>((step - 1) * states_ + at)];
        }
        before_[static_cast<std::size_t>(step * states_ + s)] = log_sum(from, n) + log_probability(step, symbol(s));
      }
    if (steps_ == 0)
      total_ = states_ == 1 ? N{} : none();
    else
      total_ = log_sum(before_.data() + before_.size() - std::min<std::int64_t>(2, states_),
                       std::min<std::int64_t>(2, states_));
  }

  std::vector<N> p_;
  std::int64_t classes_, steps_, states_;
  std::vector<std::int64_t> symbols_;
  std::vector<N> before_;
  N total_{};
};

}  // namespace twopass::ctc_kernels
