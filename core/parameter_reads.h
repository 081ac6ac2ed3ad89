// What a function does with parameters: which it reads, and which it sets.
#pragma once
#include <cstdint>
#include <optional>
#include <unordered_set>
#include <vector>

#include <twopass/core/parameter.h>

namespace twopass {

/// While it lives, notes which parameters this thread reads and what the first read of each gave, the recorded leaf for
/// `value` too. Scopes nest; each sees all reads but those from what was substituted inside of it, and those of
/// functions that are traced inside of it.
class ParameterReads {
 public:
  ParameterReads();
  ~ParameterReads();
  ParameterReads(const ParameterReads&) = delete;
  ParameterReads& operator=(const ParameterReads&) = delete;
  const Parameters& parameters() const { return parameters_; }
  const Tensors& tensors() const { return tensors_; }

 private:
  friend class Parameter;
  friend class EarlierReads;
  static void note(const Parameter& parameter, const Tensor& given, std::size_t substituted);
  Parameters parameters_;
  Tensors tensors_;
  std::vector<bool> substituted_;            // which of them a Substitution gave
  std::unordered_set<std::uint64_t> noted_;  // their ids
  std::size_t substitutions_;
  ParameterReads* before_;
};

/// While it lives, what this thread does to parameters stays here: they hold what they held before, and what is set is
/// read in here alone. Scopes around it, a LiftScope too, are not seen from inside.
class ParameterSandbox {
 public:
  /// For a trial: parameters begin with their values; what has none yet is drawn for here, and for nobody else.
  ParameterSandbox();
  /// `parameters` begin with these values; reading or setting others is refused.
  ParameterSandbox(const Parameters& parameters, const Tensors& values);
  ~ParameterSandbox();
  ParameterSandbox(const ParameterSandbox&) = delete;
  ParameterSandbox& operator=(const ParameterSandbox&) = delete;
  static bool active();

  struct Held {
    Parameter parameter;
    Tensor leaf;  // what it began with, as a leaf of the parameter
    Tensor now;   // the leaf of what it holds
    bool set = false;
  };
  /// Those that were given, read or set, in that order.
  const std::vector<Held>& held() const { return held_; }
  /// Makes it one of them.
  void take(const Parameter& parameter) { of(parameter, "read"); }
  /// Makes it one of them that begins with this.
  void take(const Parameter& parameter, const Tensor& leaf) { held_.push_back({parameter, leaf, leaf}); }
  /// What was refused last, for those who catch errors; empty where nothing was.
  const std::string& refused() const { return refused_; }

 private:
  friend class Parameter;
  Held& of(const Parameter& parameter, const char* what);
  std::vector<Held> held_;
  bool closed_;
  std::string refused_;
  ParameterView before_;
};

/// What this thread's LiftScope has been given by `set` so far, to go back to.
class LiftedSets {
 public:
  LiftedSets();
  void undo() const;
  /// Whether there were any since.
  bool more() const;
  /// What reads give until `undo`.
  void put(const Parameter& parameter, const Tensor& tensor) const;

 private:
  std::size_t before_;
};

/// What a function read, noted to run it again: parameters and what the first read of each gave.
class EarlierReads {
 public:
  explicit EarlierReads(const ParameterReads& reads);

  /// While it lives, this thread's reads begin with those, and what is set is read in here alone.
  class Again {
   public:
    explicit Again(const EarlierReads& reads);
    ~Again();
    Again(const Again&) = delete;
    Again& operator=(const Again&) = delete;

   private:
    ParameterView before_;
    std::optional<LiftedSets> lifted_;
    std::optional<ParameterSandbox> sandbox_;
    std::optional<Substitution> substitution_;
  };

 private:
  Parameters parameters_, substituted_;
  Tensors tensors_, in_their_place_;
};

/// The parameters that hold something else by now, in this thread's LiftScope, than they did before it.
Parameters lifted_and_set();

/// x without a derivative, for detach: in a LiftScope a leaf that stands for it.
Tensor detached_symbol(const Tensor& x);

}  // namespace twopass
