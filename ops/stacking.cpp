#include <twopass/ops/stacking.h>

#include <fmt/format.h>

#include <algorithm>

#include <twopass/ops/creation.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

std::int64_t count_of(const Tensors& inputs, const std::vector<bool>& which) {
  for (std::size_t k = 0; k < inputs.size(); ++k)
    if (which[k]) return inputs[k].shape()[0];
  throw Error("no input is stacked");
}

// What one of the calls gives.
Spec spec_of_one(const Op& op, const ArgumentsPointer& arguments, const Tensors& inputs,
                 const std::vector<bool>& which) {
  std::vector<Spec> specs;
  for (std::size_t k = 0; k < inputs.size(); ++k)
    specs.push_back({which[k] ? inputs[k].shape().without(0) : inputs[k].shape(), inputs[k].dtype()});
  return op.shape(arguments.get(), Specs(specs));
}

Tensor one_by_one(const Op& op, const ArgumentsPointer& arguments, const Tensors& inputs,
                  const std::vector<bool>& which) {
  const std::int64_t count = count_of(inputs, which);
  Tensors results;
  for (std::int64_t at = 0; at < count; ++at) {
    Tensors each = inputs;
    for (std::size_t k = 0; k < each.size(); ++k)
      if (which[k]) each[k] = squeeze(slice(inputs[k], 0, at, at + 1), 0);
    results.push_back(apply(op, arguments, each));
  }
  return stack(results);
}

}  // namespace

Tensors aligned(const Tensors& inputs, const std::vector<bool>& which) {
  int rank = 0;
  for (std::size_t k = 0; k < inputs.size(); ++k) rank = std::max(rank, inputs[k].rank() - (which[k] ? 1 : 0));
  Tensors with;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    Shape shape = inputs[k].shape();
    if (which[k])
      while (shape.rank() < rank + 1) shape = shape.inserted(1, 1);
    with.push_back(shape == inputs[k].shape() ? inputs[k] : reshape(inputs[k], shape));
  }
  return with;
}

Tensor as_one_batch(const Op& op, const ArgumentsPointer& arguments, const Tensors& inputs,
                    const std::vector<bool>& which) {
  if (!which[0] || std::count(which.begin(), which.end(), true) > 1) return {};
  const Shape& x = inputs[0].shape();
  Tensors batch = inputs;
  batch[0] = reshape(inputs[0], x.without(0).with(0, x[0] * x[1]));
  const Tensor y = apply(op, arguments, batch);
  return reshape(y, y.shape().with(0, x[1]).inserted(0, x[0]));
}

Tensors all_stacked(const Tensors& inputs, const std::vector<bool>& which) {
  const std::int64_t count = count_of(inputs, which);
  Tensors with;
  for (std::size_t k = 0; k < inputs.size(); ++k)
    with.push_back(which[k] ? inputs[k] : broadcast_to(inputs[k], inputs[k].shape().inserted(0, count)));
  return with;
}

Tensor all_as_one_batch(const Op& op, const ArgumentsPointer& arguments, const Tensors& inputs,
                        const std::vector<bool>& which) {
  Tensors batches;
  for (const Tensor& x : all_stacked(inputs, which))
    batches.push_back(reshape(x, x.shape().without(0).with(0, x.shape()[0] * x.shape()[1])));
  const Tensor y = apply(op, arguments, batches);
  const std::int64_t count = count_of(inputs, which);
  return reshape(y, y.shape().with(0, y.shape()[0] / count).inserted(0, count));
}

Tensor apply_stacked(const Op& op, const ArgumentsPointer& arguments, const Tensors& inputs,
                     const std::vector<bool>& which) {
  const std::int64_t count = count_of(inputs, which);
  const Spec one = spec_of_one(op, arguments, inputs, which);
  if (count == 0) return zeros(one.shape.inserted(0, 0), one.dtype);
  const bool room = std::all_of(inputs.begin(), inputs.end(), [](const Tensor& x) { return x.rank() < kMaxRank; });
  if (room && op.elementwise())
    return apply(op, arguments, op.broadcasts() ? aligned(inputs, which) : all_stacked(inputs, which));
  const Tensor together = room ? op.stacked(arguments.get(), inputs, which) : Tensor();
  if (!together.defined()) return one_by_one(op, arguments, inputs, which);
  if (!(together.shape() == one.shape.inserted(0, count)) || together.dtype() != one.dtype)
    throw Error(fmt::format("{} calls of {} side by side give {} {}, where each gives {} {}: see its record's stacked",
                            count, op.name(), name_of(together.dtype()), together.shape().text(), name_of(one.dtype),
                            one.shape.text()));
  return together;
}

}  // namespace twopass
