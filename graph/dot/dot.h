// Graphs as pictures: DOT text of models and of what a computation recorded.
#pragma once
#include <cstdint>
#include <string>

#include <twopass/graph/model/model.h>
#include <twopass/graph/plan/plan.h>
#include <twopass/ops/anomaly.h>

namespace twopass {

/// How much of a model is drawn: a node per layer; the ops inside layers, as clusters; or both passes, op by op.
enum class DotLevel : std::uint8_t { layer, op, backward };

struct DotOptions {
  DotLevel level = DotLevel::layer;
  /// The number of rows that the backward pass is drawn for.
  std::int64_t batch_size = 32;
};

/// The DOT text of a model: shapes, dtypes and parameter counts; equal bytes for equal graphs.
std::string to_dot(const Model& model, const DotOptions& options = {});
/// The DOT text of the record behind a tensor: leaves, constants that gradients read, ops.
std::string to_dot(const Tensor& y);
/// What a plan runs: its calls with shapes and places in memory, a frame around those that run block by block.
std::string to_dot(const Plan& plan);
/// The record in which a gradient check found culprits, these in red with both numbers; of a large record the
/// neighbourhood of the first. Refuses a report that blames nobody.
std::string to_dot(const GradcheckReport& report);
/// What led to the first NaN or infinity, the op that made it in red; in the backward pass the op whose gradient did.
std::string to_dot(const Anomaly& anomaly);

}  // namespace twopass
