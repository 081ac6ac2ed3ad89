// Graphs that run again: a function of tensors, traced once, as a list of kernel calls over memory laid out in advance.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// What a plan is made of: tensors to tensors, written with ops; it may read parameters, and `set` them.
using PlanFunction = std::function<Tensors(const Tensors&)>;

/// One of the things that make a plan faster than its function.
struct PlanPass {
  std::string name;
  std::string doc;
};
/// All of them, in the order in which they are done.
std::vector<PlanPass> plan_passes();
/// Refuses names that are not among them, listing those that are, with `who` before it.
void check_plan_passes(const std::vector<std::string>& names, const char* who);

struct PlanOptions {
  /// The names of passes to leave out, of those that plan_passes() lists: "constants", "common", …, "code".
  std::vector<std::string> without = {};
  /// Keep the plan as it was after each pass, for `stages`.
  bool keep_stages = false;
  /// What texts and pictures call inputs and outputs in place of "input 0" and "output 0": none, or one for each.
  std::vector<std::string> input_names = {};
  std::vector<std::string> output_names = {};
};

/// A traced function. Copies are the same plan. Runs record nothing, and after the first they take no memory for
/// tensors from the system: what they need is laid out, and blocks of outputs that nobody holds any more are used
/// again. Two threads that run one plan take turns.
class Plan {
 public:
  /// A program's text after a pass.
  struct Stage {
    std::string pass;
    std::string text;
  };
  /// What one step took.
  struct StepTime {
    std::string calls;
    std::string places;  // layers that the calls belong to, and parameters that they update: "dense, dense_1/kernel"
    double milliseconds;
    double work;         // floating-point operations
    std::int64_t bytes;  // read and written
  };

  /// No plan: to be assigned one, and refused where it is used.
  Plan() = default;

  /// Computes the outputs from inputs of the shapes and dtypes that it was planned for; refuses others. Parameters that
  /// the function sets receive their new values all together at the end: where one of these is not finite, or an op
  /// refuses its inputs, nothing changes.
  ///
  /// The outputs are not recorded: derivatives are taken in the function of the plan. So inputs that are recorded are
  /// refused (give it detach(x), or run it under no_record), and what is computed from outputs has no gradient for the
  /// parameters that the plan has read. While another plan is traced a plan is what its function was, inlined: outputs
  /// are symbols then, derivatives pass through, and parameters are read and set as a part of that other plan.
  ///
  /// In an AnomalyScope (ops/anomaly.h) a run does the calls one by one as they were traced, by `apply`, so that the
  /// first op that makes what the scope refuses is named; nothing has changed then. That is slower, and all values stay
  /// until it ends. Calls of gradients are named by themselves, not by what they are the gradient of.
  Tensors operator()(const Tensors& inputs) const { return run(inputs, {}); }
  /// The same; `check` sees the outputs before any parameter changes and may throw.
  Tensors run(const Tensors& inputs, const std::function<void(const Tensors&)>& check) const;
  /// The same into `outputs`, which lets go of what it held first, and holds nothing where a run is refused. In a loop
  /// over one such vector runs allocate nothing: neither vectors nor tensors.
  void run_into(Tensors& outputs, const Tensors& inputs, const std::function<void(const Tensors&)>& check = {}) const;

  /// For a person: which inputs, parameters ("dense/kernel") and constants are read, each step with its kernels,
  /// shapes, bytes, floating-point operations and where its output lies, and what are the outputs and new values.
  std::string text() const;
  /// The plan as traced ("trace") and after each pass that was not left out. Refuses where options did not keep them.
  std::vector<Stage> stages() const;
  /// Medians of what each step takes, one after another, over `runs` runs (1 at least) that change no parameter.
  /// Without inputs these are ones and zeros.
  std::vector<StepTime> profile(const Tensors& inputs, int runs = 20) const;
  std::vector<StepTime> profile(int runs = 20) const;

  /// Bytes that a run needs beside its inputs, parameters and outputs: known before it runs.
  std::int64_t arena_bytes() const;
  /// What the arena could not be smaller than: the most bytes that live at a time.
  std::int64_t least_arena_bytes() const;
  /// The most that a run holds beside its inputs and parameters: arena, outputs, new values of parameters beside the
  /// old ones, and what kernels take while they run, on as many threads as there are now.
  std::int64_t peak_bytes() const;
  std::size_t steps() const;

  /// For drawing: what the steps are made of.
  struct Body;
  const Body& body() const { return checked_body(); }

 private:
  friend Plan plan(const PlanFunction& f, const Tensors& inputs, const PlanOptions& options);
  explicit Plan(std::shared_ptr<Body> body) : body_(std::move(body)) {}
  Body& checked_body() const;
  std::shared_ptr<Body> body_;
};

/// Traces `f` for the shapes and dtypes of `inputs` (symbols of known sizes will do). What `f` catches is fixed then,
/// but parameters are read anew in each run; its products have the precision of the scope that it is made in. Refuses
/// what reads elements of its inputs, as an `if` on a value does, outside of layers and of eagerly()
/// (graph/plan/eagerly.h).
Plan plan(const PlanFunction& f, const Tensors& inputs, const PlanOptions& options = {});

/// What plans do with arithmetic on elements in this build on this processor: "machine code for AVX-512", "machine code
/// for AVX2", or "kernels only".
std::string plan_code();

}  // namespace twopass
