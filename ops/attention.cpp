#include <twopass/ops/attention.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/named.h>
#include <twopass/ops/products.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/softmax.h>

namespace twopass {
namespace {

// Whether key j is at most at the place of query i.
Tensor causal_mask(std::int64_t queries, std::int64_t keys) {
  return expand_dims(arange(0, static_cast<double>(queries), 1, i64), 1) >=
         arange(0, static_cast<double>(keys), 1, i64);
}

}  // namespace

Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options) {
  return named("scaled_dot_product_attention", {&q, &k, &v}, [&] {
    const auto refuse = [&](const std::string& reason) {
      throw Error(fmt::format("scaled_dot_product_attention({}, {}, {}): {}", q.shape().text(), k.shape().text(),
                              v.shape().text(), reason));
    };
    if (q.rank() < 2 || k.rank() < 2 || v.rank() < 2) refuse("queries, keys and values have two axes at least");
    if (q.shape()[-1] != k.shape()[-1])
      refuse(fmt::format("queries are {} wide but keys {}", q.shape()[-1], k.shape()[-1]));
    if (k.shape()[-2] != v.shape()[-2])
      refuse(fmt::format("there are {} keys but {} values", k.shape()[-2], v.shape()[-2]));
    if (options.mask.defined() && options.mask.dtype() != boolean)
      refuse(fmt::format("the mask must be bool, not {}", name_of(options.mask.dtype())));
    const double scale = options.scale != 0 ? options.scale : 1 / std::sqrt(static_cast<double>(q.shape()[-1]));
    Tensor scores = matmul(q * scale, k, {.transpose_b = true});
    const Tensor never = scalar_like(-std::numeric_limits<double>::infinity(), scores);
    if (options.mask.defined()) scores = where(options.mask, scores, never);
    if (options.causal) scores = where(causal_mask(q.shape()[-2], k.shape()[-2]), scores, never);
    return matmul(softmax(scores, -1), v);
  });
}

}  // namespace twopass
