#include <twopass/ops/distances.h>

#include <fmt/format.h>

#include <vector>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/indexing.h>
#include <twopass/ops/shaping.h>

namespace twopass {

Tensor pairwise_distance(const Tensor& a, const Tensor& b, double p, double epsilon, KeepAxis keep) {
  return norm(a - b + epsilon, p, -1, keep);
}

Tensor cdist(const Tensor& a, const Tensor& b, double p) {
  if (a.rank() < 2 || b.rank() < 2 || a.shape().back() != b.shape().back())
    throw Error(fmt::format("cdist({}, {}): points are rows, of one width", a.shape().text(), b.shape().text()));
  return norm(expand_dims(a, -2) - expand_dims(b, -3), p, -1);
}

Tensor pdist(const Tensor& x, double p) {
  if (x.rank() != 2) throw Error(fmt::format("pdist{}: points are the rows of a matrix", x.shape().text()));
  const std::int64_t n = x.shape()[0];
  if (n == kOpen) throw Error(fmt::format("pdist{}: the number of points is not known yet", x.shape().text()));
  std::vector<std::int64_t> first, second;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = i + 1; j < n; ++j) {
      first.push_back(i);
      second.push_back(j);
    }
  const Shape pairs{static_cast<std::int64_t>(first.size())};
  return norm(gather(x, from_values(first, pairs)) - gather(x, from_values(second, pairs)), p, -1);
}

}  // namespace twopass
