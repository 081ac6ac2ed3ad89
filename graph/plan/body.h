// What a Plan handle points to. For the files of this folder, and for drawing.
#pragma once
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <twopass/graph/plan/eager_calls.h>
#include <twopass/graph/plan/machine.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/graph/plan/trace.h>
#include <twopass/ops/precision.h>

namespace twopass {

struct Plan::Body {
  /// A run, one at a time: waits for those of other threads, refuses one within itself, and lets go of what a run holds
  /// in the end, whatever comes between.
  class Running {
   public:
    explicit Running(Body& body);
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    Body& body_;
    std::unique_lock<std::mutex> lock_;
  };

  Body(planning::Program program, planning::Processor processor, bool share);

  /// Refuses inputs that it was not planned for.
  void check_inputs(const Tensors& inputs) const;
  void bind_inputs(const Tensors& inputs);
  /// What the plan gives where another is being traced: symbols.
  Tensors inlined(const Tensors& inputs) const;
  /// What a run gives and does, call by call as they were traced, so that an AnomalyScope sees each result.
  Tensors op_by_op(const Tensors& inputs, const std::function<void(const Tensors&)>& check);
  void bind_parameters();
  /// Memory for what calls make outside of the arena; what nobody holds any more is used again.
  void bind_results();
  /// Outputs and updates that lie elsewhere, to where they are given.
  void copy_results();
  /// Lets go of parameters' values, and of what eager calls left for calls that did not come.
  void let_go();
  void commit();
  /// Plan::text; what it says of turned products may be left out. Of code it says what `coded` has, or nothing.
  std::string text(bool turned, const planning::Machine* coded) const;
  std::int64_t peak_bytes() const;

  std::mutex mutex;
  std::atomic<std::thread::id> runner{};  // the thread that runs it now
  std::shared_ptr<const planning::Traced> traced;
  planning::Machine machine;
  Precision precision = products_precision();  // of the scope that it was made in
  bool turns = true;                           // whether products may be computed as their transposes
  std::vector<planning::ValueId> parameters;   // those that calls read
  Parameters changed;                          // those that updates set
  std::vector<Stage> stages;
  std::vector<planning::EagerStagePointer> eager_stages;  // of those that run eagerly
  std::vector<Tensor> held;                               // parameters' values while they are read
  std::vector<Tensor> outputs;                            // of the last run
  std::vector<Buffer> updates;                            // memory for the next values
};

}  // namespace twopass
