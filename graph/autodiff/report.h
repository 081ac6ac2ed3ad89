// What a gradient check found: values, and as text and JSON. graph/dot draws it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// pass: every element agrees. kink: some lie at a kink, with a subgradient between both one-sided slopes. zero: of an
/// op whose record says that its derivative is 0 wherever there is one, all differences are 0. vacuous: all derivatives
/// are 0 here, so that nothing was tested. unreliable: the function is too rough here to say. fail: wrong.
enum class Verdict : std::uint8_t { pass, kink, zero, vacuous, unreliable, fail };
std::string_view name_of(Verdict verdict);

/// One input against one output.
struct GradcheckPair {
  std::string input, output;
  int order = 1;
  Verdict verdict = Verdict::pass;
  /// The element that is furthest off, by index; empty for directions through all elements.
  std::vector<std::int64_t> input_index = {}, output_index = {};
  double analytic = 0, numerical = 0;
  /// At a kink: the one-sided slopes.
  double below = 0, above = 0;
  double absolute_error = 0, relative_error = 0;
  /// What may be off: the tolerances and what the differences say of their own error.
  double bound = 0, uncertainty = 0;
  /// What roundings on the way back may do to the analytic derivative; reckoned where the two disagree.
  double analytic_uncertainty = 0;
  /// How many derivatives were compared, of how many that there are.
  std::int64_t tried = 0, elements = 0;
};

/// An identity that holds without any difference: the transposed product, linearity, symmetry.
struct ExactCheck {
  std::string name;
  double left = 0, right = 0, bound = 0;
  bool ok = true;
};

/// The op whose gradient is wrong by itself, checked alone with the inputs that it really had.
struct Culprit {
  std::string op;
  std::string call;   // "mul((2, 3), (3,))"
  std::string layer;  // the path of the layer that recorded it; empty outside layers
  GradcheckPair pair;
  Tensor node, output;  // in the record that was walked
};

enum class Listing : std::uint8_t { brief, full };

class GradcheckReport {
 public:
  /// Whether something was checked, nothing failed and nothing was unreliable. What is vacuous is no mistake, but
  /// nothing is proven there.
  bool ok() const;
  explicit operator bool() const { return ok(); }
  /// Whether a derivative or an identity failed; what is unreliable, or was not checked at all, is neither ok nor
  /// wrong.
  bool wrong() const;
  /// Whether it is ok and every first-order pair was really tested.
  bool conclusive() const;
  /// "ok: 12 pass, 2 at kinks": what was found in all, and whether much was not tested.
  std::string headline() const;
  /// The headline; pairs of input and output that do not pass, with their worst elements and both numbers; of others
  /// the few that there are or the one that is furthest off, and names of vacuous ones; then what else was found.
  /// In full, a line for every pair.
  std::string text(Listing listing = Listing::brief) const;
  /// All of it for programs: "ok", "wrong", "conclusive", "seed", "pairs", "exact", "notes", "culprits".
  std::string json() const;

  const std::vector<GradcheckPair>& pairs() const { return pairs_; }
  const std::vector<ExactCheck>& exact() const { return exact_; }
  const std::vector<std::string>& notes() const { return notes_; }
  /// The ops to blame, in the order of the record; empty where nothing failed, or where each op is right by itself.
  const std::vector<Culprit>& culprits() const { return culprits_; }
  std::uint64_t seed() const { return seed_; }

  void add(GradcheckPair pair) { pairs_.push_back(std::move(pair)); }
  void add(ExactCheck check) { exact_.push_back(std::move(check)); }
  void add(Culprit culprit) { culprits_.push_back(std::move(culprit)); }
  /// Makes what is vacuous zero, since the record says so.
  void expect_zeros();
  /// What failed at a kink, and is right beside it: `beside` are pairs of this order of points beside. Those that were
  /// tested there are kinks then, others unreliable. Whether that is so: none where one failed there.
  bool excuse(const std::vector<GradcheckPair>& beside, int order);
  void note(std::string text) { notes_.push_back(std::move(text)); }
  void set_seed(std::uint64_t seed) { seed_ = seed; }
  /// Everything that another report found, its names after `prefix`.
  void add(const GradcheckReport& other, const std::string& prefix);

 private:
  std::vector<GradcheckPair> pairs_;
  std::vector<ExactCheck> exact_;
  std::vector<std::string> notes_;
  std::vector<Culprit> culprits_;
  std::uint64_t seed_ = 1;
};

/// "input 0: fail, worst of 12 at [0, 1] …": one pair in words.
std::string text_of(const GradcheckPair& pair);

}  // namespace twopass
