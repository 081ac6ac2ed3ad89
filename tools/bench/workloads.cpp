#include "workloads.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

#include "suite.h"

using namespace twopass;

namespace {

Random& numbers() {
  static Random random(1);
  return random;
}
Tensor uniform(const Shape& shape, double bound) { return numbers().uniform(shape, f32, -bound, bound); }
Parameter leaf(const Shape& shape, double bound) { return Parameter(uniform(shape, bound)); }

Tensor labels(std::int64_t batch, std::int64_t classes) {
  std::vector<std::int64_t> values;
  for (std::int64_t k = 0; k < batch; ++k) values.push_back((k * 7 + 3) % classes);
  return from_values(values, {batch});
}

// Backward and SGD update; a plan's loss has no value yet.
Tensors trained(Tensor loss, const Parameters& parameters, double rate) {
  const Optimizer optimizer = sgd({.learning_rate = rate});
  const Tensor value = detach(loss);
  if (!LiftScope::active()) {
    optimizer.apply(backward(std::move(loss)), parameters);
    return {value};
  }
  const Gradients found = backward(loss);
  Tensors gradients;
  for (const Parameter& each : parameters) gradients.push_back(found[each]);
  optimizer.trace_update(gradients, parameters, tensor(rate, f64), tensor(1.0, f64));
  return {value};
}

// Dense layers with relu between them, softmax cross-entropy.
Workload perceptron(const std::vector<std::int64_t>& sizes, std::int64_t batch) {
  Parameters parameters;
  for (std::size_t k = 0; k + 1 < sizes.size(); ++k) {
    parameters.push_back(leaf({sizes[k], sizes[k + 1]}, std::sqrt(3.0 / static_cast<double>(sizes[k]))));
    parameters.push_back(leaf({sizes[k + 1]}, 0.01));
  }
  return {{uniform({batch, sizes[0]}, 1), labels(batch, sizes.back())}, [parameters](const Tensors& in) {
            Tensor h = in[0];
            for (std::size_t k = 0; k < parameters.size(); k += 2)
              h = affine(h, parameters[k], parameters[k + 1],
                         k + 2 < parameters.size() ? FusedActivation::relu : FusedActivation::linear);
            return trained(mean(sparse_softmax_cross_entropy(h, in[1])), parameters, 0.01);
          }};
}

Workload residual(std::int64_t blocks, std::int64_t batch) {
  Parameters parameters;
  for (std::int64_t k = 0; k < blocks; ++k) {
    parameters.push_back(leaf({64, 64}, 0.1));
    parameters.push_back(leaf({64, 64}, 0.02));
  }
  return {{uniform({batch, 64}, 0.5) + 0.5, uniform({batch, 64}, 0.5) + 0.5}, [parameters](const Tensors& in) {
            Tensor h = in[0];
            for (std::size_t k = 0; k < parameters.size(); k += 2)
              h = h + matmul(relu(matmul(h, parameters[k])), parameters[k + 1]);
            return trained(mean(square(h - in[1])), parameters, 1e-4);
          }};
}

// Its own leaf where values come: symbols are recorded anyway.
Tensor differentiable(const Tensor& x) { return x.symbolic() ? x : variable(x); }

Workload chain() {
  const Tensor b = (uniform({16, 16}, 0.5) + 0.5) * 1e-3, c = 1.0 - 0.01 * (uniform({16, 16}, 0.5) + 0.5);
  return {.inputs = {uniform({16, 16}, 0.5)},
          .step = [b, c](const Tensors& in) -> Tensors {
            const Tensor x = differentiable(in[0]);
            Tensor h = x;
            for (int k = 0; k < 1000; ++k) h = k % 4 == 0 ? h + b : k % 4 == 1 ? h * c : k % 4 == 2 ? tanh(h) : relu(h);
            Tensor total = sum(h);
            const Tensor value = detach(total);
            return {value, backward(std::move(total))[x]};
          },
          .parts = 1000,
          .part = "op"};
}

Workload convolutional() {
  const Parameters p{leaf({32, 3, 3, 3}, 0.3),  leaf({32}, 0.01), leaf({32, 32, 3, 3}, 0.1), leaf({32}, 0.01),
                     leaf({64, 32, 3, 3}, 0.1), leaf({64}, 0.01), leaf({4096, 10}, 0.03),    leaf({10}, 0.01)};
  return {{uniform({64, 3, 32, 32}, 1), labels(64, 10)}, [p](const Tensors& in) {
            const Conv2dOptions same{.padding = "same", .activation = FusedActivation::relu};
            Tensor h = conv2d(in[0], p[0], p[1], same);
            h = max_pool2d(conv2d(h, p[2], p[3], same));
            h = max_pool2d(conv2d(h, p[4], p[5], same));
            const Tensor scores = affine(flatten(h), p[6], p[7]);
            return trained(mean(sparse_softmax_cross_entropy(scores, in[1])), p, 0.01);
          }};
}

Workload branches() {
  Parameters parameters;
  for (int k = 0; k < 8; ++k)
    for (const Parameter& each : {leaf({256, 64}, 0.1), leaf({64}, 0.01), leaf({64, 10}, 0.1), leaf({10}, 0.01)})
      parameters.push_back(each);
  return {{uniform({64, 256}, 1), labels(64, 10)}, [parameters](const Tensors& in) {
            Tensor votes;
            for (std::size_t k = 0; k < parameters.size(); k += 4) {
              const Tensor h = affine(in[0], parameters[k], parameters[k + 1], FusedActivation::relu);
              const Tensor vote = affine(h, parameters[k + 2], parameters[k + 3]);
              votes = votes.defined() ? votes + vote : vote;
            }
            return trained(mean(sparse_softmax_cross_entropy(votes / 8, in[1])), parameters, 0.01);
          }};
}

// y = f(x) on [4096, 1024] and its vector-Jacobian product.
Workload sweep(Tensor (*f)(const Tensor&)) {
  return {{uniform({4096, 1024}, 2), uniform({4096, 1024}, 1)}, [f](const Tensors& in) -> Tensors {
            const Tensor x = differentiable(in[0]);
            const Tensor y = f(x);
            return {detach(y), gradients(y, {x}, {.seed = in[1]})[0]};
          }};
}

Tensor layer_norm_of_ops(const Tensor& x) {
  const Tensor c = x - mean(x, -1, keep_axis);
  return c / sqrt(mean(c * c, -1, keep_axis) + 1e-5);
}

Workload scalars(std::int64_t steps) {
  Tensors xs;
  for (int k = 0; k < 64; ++k) xs.push_back(uniform({1}, 0.5));
  return {.inputs = {uniform({1}, 0.7)},
          .step = [xs, steps](const Tensors& in) -> Tensors {
            const Tensor s0 = variable(in[0]);
            Tensor s = s0;
            for (std::int64_t k = 0; k < steps; ++k) s = sin(s) * xs[static_cast<std::size_t>(k & 63)] + s;
            return {backward(std::move(s))[s0]};
          },
          .eager_only = true,
          .parts = 3.0 * static_cast<double>(steps),
          .part = "node"};
}

// A Hessian-vector product over all weights of 784-128-64-10, tanh: the gradient in forward mode.
Workload curvature() {
  Parameters parameters;
  Tensors directions;
  const std::vector<std::int64_t> sizes{784, 128, 64, 10};
  for (std::size_t k = 0; k + 1 < sizes.size(); ++k) {
    parameters.push_back(leaf({sizes[k], sizes[k + 1]}, std::sqrt(3.0 / static_cast<double>(sizes[k]))));
    parameters.push_back(leaf({sizes[k + 1]}, 0.01));
  }
  for (const Parameter& each : parameters) directions.push_back(uniform(each.shape(), 0.5));
  return {{uniform({32, 784}, 1), labels(32, 10)}, [parameters, directions](const Tensors& in) -> Tensors {
            Tensors weights;
            for (const Parameter& each : parameters) weights.push_back(each.tensor());
            Tensor h = in[0];
            for (std::size_t k = 0; k < weights.size(); k += 2)
              h = affine(h, weights[k], weights[k + 1],
                         k + 2 < weights.size() ? FusedActivation::tanh : FusedActivation::linear);
            const Tensor loss = mean(sparse_softmax_cross_entropy(h, in[1]));
            return tangents(gradients(loss, weights, {.record = true}), weights, directions);
          }};
}

// The Jacobian of 40-64-64-10, tanh, on 60 rows for these: 600 rows of 2400, side by side or a backward pass for each.
Workload jacobians(bool together) {
  const Parameters p{leaf({40, 64}, 0.3), leaf({64, 64}, 0.2), leaf({64, 10}, 0.2)};
  const auto net = [p](const Tensor& x) { return matmul(tanh(matmul(tanh(matmul(x, p[0])), p[1])), p[2]); };
  return {.inputs = {uniform({60, 40}, 1)},
          .step = [net, together](const Tensors& in) -> Tensors {
            if (together) return {jacobian(net, in[0])};
            const Tensor x = differentiable(in[0]), y = net(x), units = eye(y.elements(), f32);
            Tensors rows;
            for (std::int64_t k = 0; k < y.elements(); ++k)
              rows.push_back(gradients(y, {x}, {.seed = reshape(slice(units, 0, k, k + 1), y.shape())})[0]);
            return {stack(rows)};
          },
          .parts = 600,
          .part = "row"};
}

}  // namespace

std::int64_t whole_number(const std::string& word, const std::string& what) {
  std::int64_t number = 0;
  const char* const end = word.data() + word.size();
  const auto [stop, trouble] = std::from_chars(word.data(), end, number);
  if (trouble != std::errc() || stop != end || number < 1 || number > 1'000'000'000)
    throw Error(what + " is \"" + word + "\", not a whole number of 1 to 1000000000");
  return number;
}

Workload workload_named(const std::string& name) {
  if (name == "W1") return perceptron({3072, 20, 15, 10}, 128);
  if (name == "W2") return perceptron({784, 512, 512, 10}, 128);
  if (name == "W3") return perceptron({1024, 1024, 1024, 1024, 10}, 256);
  if (name == "W4") return residual(100, 64);
  if (name == "W5") return chain();
  if (name == "W6") return convolutional();
  if (name == "W7") return branches();
  if (name == "W8a") return sweep([](const Tensor& x) { return softmax(x, -1); });
  if (name == "W8b") return sweep(layer_norm_of_ops);
  if (name == "W8c") return sweep([](const Tensor& x) { return gelu(x); });
  if (name == "W9") return scalars(333333);
  if (name == "W10") return curvature();
  if (name == "jacobian") return jacobians(true);
  if (name == "jacobian:rows") return jacobians(false);
  if (name == "GMM" || name == "LSTM") return suite_workload(name);
  if (const auto colon = name.find(':'); colon != std::string::npos) {
    const std::string kind = name.substr(0, colon);
    const std::int64_t size = whole_number(name.substr(colon + 1), "the size in " + name);
    if (kind == "depth") return residual(size, 64);
    if (kind == "batch") return residual(10, size);
    if (kind == "nodes") return scalars(size / 3);
    if (kind == "LSTM") return suite_workload(kind, size);
  }
  throw Error("there is no workload " + name +
              ": there are W1 to W10, W8 as W8a, W8b and W8c, jacobian, jacobian:rows, GMM, LSTM, and depth:N, "
              "batch:N, nodes:N, LSTM:N (characters)");
}
