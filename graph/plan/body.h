// What a Plan handle points to. For the files of this folder, and for drawing.
#pragma once
#include <mutex>
#include <string>
#include <vector>

#include <twopass/graph/plan/machine.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/precision.h>

namespace twopass {

struct Plan::Body {
  /// Lets go of parameters' values in the end, whatever comes between.
  struct Running {
    Body& body;
    ~Running() { body.held.clear(); }
  };

  Body(planning::Program program, planning::Processor processor, bool share);

  void bind_inputs(const Tensors& inputs);
  void bind_parameters();
  /// Memory for what calls make outside of the arena; what nobody holds any more is used again.
  void bind_results();
  Tensors results();
  void commit();
  /// Plan::text; what it says of turned products and of machine code may be left out.
  std::string text(bool turned, bool coded) const;
  std::int64_t peak_bytes() const;

  std::mutex mutex;
  planning::Machine machine;
  Precision precision = products_precision();  // of the scope that it was made in
  bool turns = true;                           // whether products may be computed as their transposes
  std::vector<planning::ValueId> parameters;   // those that calls read
  std::vector<Stage> stages;
  std::vector<Tensor> held;     // parameters' values while they are read
  std::vector<Tensor> outputs;  // of the last run
  std::vector<Buffer> updates;  // memory for the next values
};

}  // namespace twopass
