#include <twopass/ops/distances.h>

#include <fmt/format.h>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/named.h>
#include <twopass/ops/shaping.h>

namespace twopass {

Tensor pairwise_distance(const Tensor& a, const Tensor& b, double p, double epsilon, KeepAxis keep) {
  return named("pairwise_distance", {&a, &b}, [&] { return norm(a - b + epsilon, p, -1, keep); });
}

Tensor cdist(const Tensor& a, const Tensor& b, double p) {
  return named("cdist", {&a, &b}, [&] {
    if (a.rank() < 2 || b.rank() < 2 || a.shape().back() != b.shape().back())
      throw Error(fmt::format("cdist({}, {}): points are rows, of one width", a.shape().text(), b.shape().text()));
    return norm(expand_dims(a, -2) - expand_dims(b, -3), p, -1);
  });
}

Tensor pdist(const Tensor& x, double p) {
  return named("pdist", {&x}, [&] {
    if (x.rank() != 2) throw Error(fmt::format("pdist{}: points are the rows of a matrix", x.shape().text()));
    const std::int64_t n = x.shape()[0];
    if (n == kOpen) throw Error(fmt::format("pdist{}: the number of points is not known yet", x.shape().text()));
    const Shape pairs{n == 0 ? 0 : checked_product(n, n - 1) / 2};
    const Tensor first = uninitialised(pairs, i64), second = uninitialised(pairs, i64);
    std::int64_t *one = writable<std::int64_t>(first), *other = writable<std::int64_t>(second);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = i + 1; j < n; ++j) {
        *one++ = i;
        *other++ = j;
      }
    return norm(gather(x, first) - gather(x, second), p, -1);
  });
}

}  // namespace twopass
