// What optimizers do in one sweep.
#include <twopass/ops/elementwise.h>
#include <twopass/ops/elementwise_families.h>
#include <twopass/ops/rules.h>

namespace twopass {

const TypedOp<>& add_scaled_op() {
  static const TypedOp<> op({
      .name = "add_scaled",
      .doc = "x + s d: a step of size s along d.",
      .shape = [](const NoArgs&, const Specs& in) -> Spec {
        if (!is_floating(in.dtype(0))) rules::refuse_dtype(in.dtype(0), "f32 and f64");
        if (in.dtype(0) != in.dtype(1) || in.dtype(0) != in.dtype(2))
          throw Error("x, s and d differ in dtype: cast them");
        return {broadcast(in.shape(0), broadcast(in.shape(1), in.shape(2))), in.dtype(0)};
      },
      .run =
          [](const NoArgs&, std::span<const Operand> in, std::byte* out, std::int64_t n, DType dtype) {
            const auto go = [&]<typename T>() {
              const T *x = in[0].data<T>(), *s = in[1].data<T>(), *d = in[2].data<T>();
              T* to = reinterpret_cast<T*>(out);
              if (!in[0].splat && in[1].splat && !in[2].splat) {
                const T scale = *s;
                for (std::int64_t k = 0; k < n; ++k) to[k] = x[k] + scale * d[k];
                return;
              }
              const std::int64_t by_x = !in[0].splat, by_s = !in[1].splat, by_d = !in[2].splat;
              for (std::int64_t k = 0; k < n; ++k) to[k] = x[k * by_x] + s[k * by_s] * d[k * by_d];
            };
            if (dtype == f32)
              go.template operator()<float>();
            else
              go.template operator()<double>();
          },
      .lanes = [](const NoArgs&, const Specs&, Lanes& l,
                  std::span<const Lane> x) { return l.add(x[0], l.multiply(x[1], x[2])); },
      .broadcasts = true,
      .keeps = Keep::second | Keep::third,
      // dx = g, ds = d g, dd = s g
      .gradient = [](const NoArgs&, const Call& call, const Tensor& g) -> Tensors {
        return {g, call.wants(1) ? strong_mul(g, call.input(2)) : Tensor(),
                call.wants(2) ? strong_mul(g, call.input(1)) : Tensor()};
      },
      .samples = {{.inputs = {sample::uniform({2, 3}), sample::uniform({}), sample::uniform({2, 3})}}},
      .examples = {{.inputs = {{1.0, 2.0}, tensor(0.5, f64), {4.0, -2.0}}, .output = {3.0, 1.0}}},
      .refuses = {{.inputs = {sample::integers({2}, 0, 3), sample::integers({2}, 0, 3), sample::integers({2}, 0, 3)},
                   .message = "only f32 and f64"}},
  });
  return op;
}
Tensor add_scaled(const Tensor& x, const Tensor& s, const Tensor& d) { return apply(add_scaled_op(), {x, s, d}); }

std::vector<const Op*> update_ops() { return {&add_scaled_op()}; }

}  // namespace twopass
