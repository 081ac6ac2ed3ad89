// Random tensors as ops: what they draw follows from a key and a step alone, in any number of threads, so that a graph
// that runs again draws the same, or, with another step, the next. core/random.h has a generator for everything else.
#pragma once
#include <cstdint>

#include <twopass/core/tensor.h>

namespace twopass {

/// Which numbers are drawn: equal keys and steps give equal ones. The step is an i64 scalar.
struct Draw {
  std::uint64_t key = 0;
  Tensor step = tensor(std::int64_t{0});
};

/// Uniform in [0, 1); standard normal; standard normal of at most two standard deviations; Gumbel's -log(-log u).
Tensor draw_uniform(const Shape& shape, const Draw& draw, DType dtype = f32);
Tensor draw_normal(const Shape& shape, const Draw& draw, DType dtype = f32);
Tensor draw_truncated_normal(const Shape& shape, const Draw& draw, DType dtype = f32);
Tensor draw_gumbel(const Shape& shape, const Draw& draw, DType dtype = f32);
/// i64 elements uniform in low … high - 1. Refuses an empty range.
Tensor draw_integers(const Shape& shape, std::int64_t low, std::int64_t high, const Draw& draw);
/// 0 … n-1 in random order, i64.
Tensor draw_permutation(std::int64_t n, const Draw& draw);

/// One element for each of the parameters, which broadcast, and through which gradients pass (reparametrisation, Kingma
/// and Welling, 2014): uniform in [low, high), normal.
Tensor sample_uniform(const Tensor& low, const Tensor& high, const Draw& draw);
Tensor sample_normal(const Tensor& mean, const Tensor& stddev, const Draw& draw);
/// 1 with the probability given, else 0, in its dtype. No gradient passes.
Tensor sample_bernoulli(const Tensor& probability, const Draw& draw);
/// i64 classes [...] of logits [..., classes], each with its softmax's probability. No gradient passes.
Tensor sample_categorical(const Tensor& logits, const Draw& draw);

}  // namespace twopass
