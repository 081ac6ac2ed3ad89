#include <twopass/ops/ctc.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <twopass/core/counted.h>
#include <twopass/ops/cross_entropy.h>
#include <twopass/ops/ctc_kernels.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/named.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/reduction_kernels.h>
#include <twopass/ops/shaping.h>
#include <twopass/ops/stacking.h>

namespace twopass {
namespace {

using ctc_kernels::Alignments;
using ctc_kernels::Dual;

struct CtcArgs {
  std::int64_t blank = 0;
  static constexpr auto fields = std::tuple{field("blank", &CtcArgs::blank)};
};

// Where the inputs of a record are; the curvature has a direction behind the logits.
struct Places {
  std::size_t labels = 1, steps = 2, counts = 3;
};
constexpr Places kPlaces{}, kBehindDirection{2, 3, 4};

bool fits(std::int64_t a, std::int64_t b) { return a == b || a == kOpen || b == kOpen; }

void check(const CtcArgs& args, const Specs& in, const Places& at = kPlaces) {
  const Spec logits = in[0], labels = in[at.labels];
  if (!is_floating(logits.dtype)) throw Error(fmt::format("logits must be f32 or f64, not {}", name_of(logits.dtype)));
  if (logits.shape.rank() != 3)
    throw Error(fmt::format("logits need three axes, batch, steps and classes, not {}", logits.shape.rank()));
  if (args.blank < 0 || (logits.shape[2] != kOpen && args.blank >= logits.shape[2]))
    throw Error(fmt::format("the blank {} is no class of {}", args.blank, logits.shape[2]));
  if (labels.dtype != i64 || labels.shape.rank() != 2 || !fits(labels.shape[0], logits.shape[0]))
    throw Error(fmt::format("labels must be i64, a row for each of the batch's {}, not {} {}", logits.shape[0],
                            name_of(labels.dtype), labels.shape.text()));
  for (const std::size_t k : {at.steps, at.counts})
    if (in.dtype(k) != i64 || in.shape(k).rank() != 1 || !fits(in.shape(k)[0], logits.shape[0]))
      throw Error(fmt::format("{} must be i64, one for each of the batch's {}, not {} {}",
                              k == at.steps ? "numbers of steps" : "numbers of labels", logits.shape[0],
                              name_of(in.dtype(k)), in.shape(k).text()));
}

void check_number(const char* what, std::int64_t number, std::int64_t most, std::int64_t row) {
  if (number < 0 || number > most)
    throw Error(fmt::format("row {} has {}, outside 0 … {}", row, counted(number, what), most));
}

void check_values(const CtcArgs& args, Inputs in, const Places& at = kPlaces) {
  const Shape &logits = in[0].shape(), &labels = in[at.labels].shape();
  for (std::int64_t row = 0; row < logits[0]; ++row) {
    const std::int64_t count = in[at.counts].data<std::int64_t>()[row];
    check_number("step", in[at.steps].data<std::int64_t>()[row], logits[1], row);
    check_number("label", count, labels[1], row);
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int64_t label = in[at.labels].data<std::int64_t>()[row * labels[1] + k];
      if (label < 0 || label >= logits[2])
        throw Error(fmt::format("label {} of row {} is {}, outside 0 … {}", k, row, label, logits[2] - 1));
      if (label == args.blank) throw Error(fmt::format("label {} of row {} is the blank, {}", k, row, label));
    }
  }
}

// The logarithms of the classes' probabilities at the first steps of a row, whose logits begin at `place`; for Dual,
// with their derivatives in the direction of the second input.
template <typename N, typename T>
std::vector<N> log_probabilities(Inputs in, std::int64_t place, std::int64_t steps) {
  const std::int64_t classes = in[0].shape()[2];
  std::vector<N> p(static_cast<std::size_t>(steps * classes));
  for (std::size_t k = 0; k < p.size(); ++k) {
    const double x = static_cast<double>(in[0].data<T>()[place + static_cast<std::int64_t>(k)]);
    if constexpr (std::is_same_v<N, Dual>)
      p[k] = {x, static_cast<double>(in[1].data<T>()[place + static_cast<std::int64_t>(k)])};
    else
      p[k] = x;
  }
  for (auto step = p.begin(); step != p.end(); step += classes) {
    const N total = ctc_kernels::log_sum(&*step, classes);
    std::for_each(step, step + classes, [&](N& x) { x = x - total; });
  }
  return p;
}

// Calls f(row, its alignments).
template <typename N, typename T, typename F>
void for_rows(const CtcArgs& args, Inputs in, const F& f) {
  const Places at = std::is_same_v<N, Dual> ? kBehindDirection : kPlaces;
  check_values(args, in, at);
  const Shape& logits = in[0].shape();
  const std::int64_t classes = logits[2], width = in[at.labels].shape()[1];
  reduction::for_units(logits[0], 16 * logits[1] * (classes + 2 * width + 1), [&](std::int64_t row) {
    f(row, Alignments<N>(log_probabilities<N, T>(in, row * logits[1] * classes, in[at.steps].data<std::int64_t>()[row]),
                         classes, in[at.labels].data<std::int64_t>() + row * width,
                         in[at.counts].data<std::int64_t>()[row], args.blank));
  });
}

void ctc_forward(const CtcArgs& args, Inputs in, Output out) {
  dispatch_floating(out.dtype, [&]<typename T>() {
    for_rows<double, T>(args, in, [&](std::int64_t row, const Alignments<double>& alignments) {
      out.data<T>()[row] = static_cast<T>(-alignments.total());
    });
  });
}

// Graves et al., 2006, equation 16: the probability of a class less those of its states, given the labels; for Dual
// the derivative of that. 0 where no alignment fits.
template <typename N>
void slope_forward(const CtcArgs& args, Inputs in, Output out) {
  const std::int64_t size = out.shape()[1] * out.shape()[2], classes = out.shape()[2];
  dispatch_floating(out.dtype, [&]<typename T>() {
    for_rows<N, T>(args, in, [&](std::int64_t row, const Alignments<N>& alignments) {
      std::vector<double> y(static_cast<std::size_t>(size));
      if (!std::isinf(ctc_kernels::value_of(alignments.total()))) {
        const auto& p = alignments.log_probabilities();
        std::transform(p.begin(), p.end(), y.begin(), [](const N& x) { return ctc_kernels::probability(x); });
        alignments.for_states([&](std::int64_t step, std::int64_t k, const N& given) {
          y[static_cast<std::size_t>(step * classes + k)] -= ctc_kernels::probability(given);
        });
      }
      std::transform(y.begin(), y.end(), out.data<T>() + row * size, [](double each) { return static_cast<T>(each); });
    });
  });
}

double ctc_work(const CtcArgs&, const Specs& in) {
  const Shape& logits = in.shape(0);
  return 4 * static_cast<double>(logits.elements()) +
         10 * static_cast<double>(logits[0] * logits[1]) * static_cast<double>(2 * in.shape(1)[1] + 1);
}

Tensor cube(std::initializer_list<std::initializer_list<double>> steps) { return expand_dims(tensor(steps, f64), 0); }

// Labels that differ, that repeat, and one that lasts; all steps, or some.
Tensor labels() { return tensor({{1, 2}, {2, 2}, {1, 0}}); }
Tensor steps() { return tensor({4, 4, 3}); }
Tensor counts() { return tensor({2, 2, 1}); }

const TypedOp<CtcArgs>& ctc_curvature_op() {
  static const TypedOp<CtcArgs> op({
      .name = "ctc_curvature",
      .doc = "The derivative of ctc_slope for its logits in a direction of their shape; has none itself.",
      .shape = [](const CtcArgs& args, const Specs& in) -> Spec {
        check(args, in, kBehindDirection);
        if (in.shape(1) != in.shape(0) || in.dtype(1) != in.dtype(0))
          throw Error(
              fmt::format("the direction must be like the logits {}, not {}", in.shape(0).text(), in.shape(1).text()));
        return in[0];
      },
      .forward = slope_forward<Dual>,
      .stacked = [](const CtcArgs& args, const Tensors& in, const std::vector<bool>& which) -> Tensor {
        return all_as_one_batch(ctc_curvature_op(), boxed(args), in, which);
      },
      .samples = {{{}, {sample::uniform({3, 4, 3}), sample::uniform({3, 4, 3}), labels(), steps(), counts()}}},
      // Of one step the loss is softmax's cross-entropy, whose curvature is p (h - Σ h p).
      .examples = {{{},
                    {cube({{0, 0}}), cube({{1, 0}}), tensor({{1}}), tensor({1}), tensor({1})},
                    cube({{0.25, -0.25}})}},
      .refuses = {{{},
                   {sample::uniform({1, 2, 3}), sample::uniform({1, 2, 2}), tensor({{1}}), tensor({2}), tensor({1})},
                   "the direction must be like the logits (1, 2, 3), not (1, 2, 2)"}},
  });
  return op;
}

Tensor curvature_of(const CtcArgs& args, const Call& call, const Tensor& h) {
  return apply(ctc_curvature_op(), args, {call.input(0), h, call.input(1), call.input(2), call.input(3)});
}

const TypedOp<CtcArgs>& ctc_slope_op() {
  static const TypedOp<CtcArgs> op({
      .name = "ctc_slope",
      .doc = "softmax(logits) less the probabilities of the classes given the labels: the derivative of ctc.",
      .shape = [](const CtcArgs& args, const Specs& in) -> Spec {
        check(args, in);
        return in[0];
      },
      .forward = slope_forward<double>,
      .keeps = Keep::input,
      // a second derivative is symmetric: dx and the tangent are the slope's change in a direction
      .gradient = [](const CtcArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {curvature_of(args, call, g), {}, {}, {}};
      },
      .tangent = [](const CtcArgs& args, const Call& call, const Tensors& t) -> Tensor {
        return curvature_of(args, call, t[0]);
      },
      .samples = {{{}, {sample::uniform({3, 4, 3}), labels(), steps(), counts()}}},
      .examples = {{{}, {cube({{0, 0}}), tensor({{1}}), tensor({1}), tensor({1})}, cube({{0.5, -0.5}})}},
      .refuses = {{{}, {sample::uniform({2, 3}), labels(), steps(), counts()}, "logits need three axes"}},
  });
  return op;
}

Tensor slope_of(const CtcArgs& args, const Call& call) {
  return apply(ctc_slope_op(), args, {call.input(0), call.input(1), call.input(2), call.input(3)});
}

const TypedOp<CtcArgs>& ctc_op() {
  static const TypedOp<CtcArgs> op({
      .name = "ctc",
      .doc = "-log of the probability of all alignments of i64 labels [n, m] with the steps of logits [n, t, classes], "
             "of which each row has so many steps and labels (Graves et al., 2006); inf where none fits.",
      .shape = [](const CtcArgs& args, const Specs& in) -> Spec {
        check(args, in);
        return {{in.shape(0)[0]}, in.dtype(0)};
      },
      .forward = ctc_forward,
      .work = ctc_work,
      .keeps = Keep::input,
      // dlogits = g slope,  dy = Σ slope dlogits
      .gradient = [](const CtcArgs& args, const Call& call, const Tensor& g) -> Tensors {
        return {slope_of(args, call) * expand_dims(expand_dims(g, 1), 2), {}, {}, {}};
      },
      .tangent = [](const CtcArgs& args, const Call& call, const Tensors& t) -> Tensor {
        return sum(slope_of(args, call) * t[0], {1, 2});
      },
      .samples = {{{}, {sample::uniform({3, 4, 3}), labels(), steps(), counts()}},
                  {{2}, {sample::uniform({2, 3, 3}), tensor({{0, 1, 0}, {1, 0, 0}}), tensor({3, 2}), tensor({3, 0})}}},
      // All alignments are equally likely: one of three, three of four, one of eight.
      .examples = {{{}, {cube({{0, 0, 0}}), tensor({{1}}), tensor({1}), tensor({1})}, {1.0986122886681098}},
                   {{1}, {cube({{0, 0}, {0, 0}}), tensor({{0}}), tensor({2}), tensor({1})}, {0.2876820724517809}},
                   {{},
                    {cube({{0, 0}, {0, 0}, {0, 0}}), tensor({{1, 1}}), tensor({3}), tensor({2})},
                    {2.0794415416798357}},
                   {{}, {cube({{0, 0}, {0, 0}}), tensor({{1, 1}}), tensor({2}), tensor({2})}, {INFINITY}}},
      .refuses =
          {{{3}, {sample::uniform({3, 4, 3}), labels(), steps(), counts()}, "the blank 3 is no class of 3"},
           {{}, {sample::uniform({3, 4, 2}), labels(), steps(), counts()}, "label 1 of row 0 is 2, outside 0 … 1"},
           {{}, {sample::uniform({3, 4, 3}), labels(), steps(), tensor({2, 2, 2})}, "label 1 of row 2 is the blank"},
           {{},
            {sample::uniform({3, 4, 3}), labels(), tensor({4, 5, 3}), counts()},
            "row 1 has 5 steps, outside 0 … 4"},
           {{},
            {sample::uniform({3, 4, 3}), labels(), steps(), tensor({2, 2, 3})},
            "row 2 has 3 labels, outside 0 … 2"},
           {{}, {sample::uniform({3, 4, 3}), labels(), steps(), tensor({2, 2})}, "numbers of labels must be i64, one"},
           {{}, {sample::uniform({2, 4, 3}), labels(), steps(), counts()}, "a row for each of the batch's 2"}},
  });
  return op;
}

}  // namespace

Tensor ctc_loss(const Tensor& logits, const Tensor& labels, const Tensor& steps, const Tensor& counts,
                std::int64_t blank) {
  return named("ctc_loss", {&logits, &labels, &steps, &counts}, [&] {
    return apply(ctc_op(), CtcArgs{blank}, {logits, labels, steps, counts});
  });
}

namespace classes {

std::vector<const Op*> ctc_ops() { return {&ctc_op(), &ctc_slope_op(), &ctc_curvature_op()}; }

}  // namespace classes
}  // namespace twopass
