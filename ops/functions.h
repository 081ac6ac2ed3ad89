// Elementary functions of vectors, for f32 and f64: what Eigen 3.4 has of them is up to five units in the last place
// off, wrong among the denormals, and infinite or stuck before the range ends. For the .cpp files of this folder.
//
// Polynomials are minimax (Remez); argument reductions are those of fdlibm (Sun Microsystems, 1993). Bounds in units in
// the last place are held by tests/functions_test.cpp.
#pragma once
#include <cmath>
#include <numbers>

#include <twopass/ops/vectors.h>

namespace twopass::kernels {

template <typename T>
struct Constants;
template <>
struct Constants<float> {
  static constexpr int kMantissa = 23;
  static constexpr float kBias = 127;
  static constexpr float kShift = 12582912;  // 1.5 · 2^23: adding it rounds to a whole number, left in the low bits
  static constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;  // the high part has few bits
  static constexpr float kExpLowest = -110, kExpHighest = 89;
  static constexpr float kExp[] = {0.5F, 0.166665181517601F, 0.04166620597243309F, 0.008368953131139278F,
                                   0.0013950599823147058F};  // (e^r - 1 - r) / r², |r| <= ln 2 / 2
  static constexpr float kLog[] = {0xaaaaaa.0p-24F, 0xccce13.0p-25F, 0x91e9ee.0p-25F, 0xf89e26.0p-26F};
  static constexpr float kTanh[] = {-0.3333328068256378F, 0.1333138346672058F, -0.053734004497528076F,
                                    0.02061813697218895F, -0.005679320078343153F};  // (tanh(x) / x - 1) / x², x < 0.63
};
template <>
struct Constants<double> {
  static constexpr int kMantissa = 52;
  static constexpr double kBias = 1023;
  static constexpr double kShift = 6755399441055744;
  static constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
  static constexpr double kExpLowest = -760, kExpHighest = 710;
  static constexpr double kExp[] = {0.5000000000000013,     0.166666666666667,      0.04166666666651433,
                                    0.008333333333307014,   0.00138888889473294,    0.00019841269917800097,
                                    2.4801489592209796e-05, 2.7557215925884597e-06, 2.76314132670314e-07,
                                    2.5117980756897194e-08};
  static constexpr double kLog[] = {6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
                                    2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
                                    1.479819860511658591e-01};
  static constexpr double kTanh[] = {-0.333333333333328,     0.13333333333254238,    -0.053968253927543584,
                                     0.021869487489529205,   -0.008863219856036208,  0.0035919798461403253,
                                     -0.0014549106607093729, 0.0005861577179039145,  -0.00022824146238324808,
                                     7.677569338224041e-05,  -1.5891527391408215e-05};
};

/// 2^n of a whole number n of which that is a normal number.
template <typename V>
[[gnu::always_inline]] inline V power_of_2(const V& n) {
  using C = Constants<Element<V>>;
  return std::bit_cast<V>(bits(V(n + (C::kShift + C::kBias))) << C::kMantissa);
}

/// x held to the arguments of which e^x is neither 0 nor infinite, and somewhat beyond; NaN stays.
template <typename V>
[[gnu::always_inline]] inline V hold_below(const V& x) {
  using C = Constants<Element<V>>;
  return x < C::kExpLowest ? all<V>(C::kExpLowest) : x;
}
template <typename V>
[[gnu::always_inline]] inline V hold_above(const V& x) {
  using C = Constants<Element<V>>;
  return x > C::kExpHighest ? all<V>(C::kExpHighest) : x;
}

/// y 2^n, rounded once.
template <typename V>
[[gnu::always_inline]] inline V scaled(const V& y, const V& n) {
#ifdef __AVX512F__
  if constexpr (std::is_same_v<V, Floats>)
    return std::bit_cast<V>(_mm512_scalef_ps(std::bit_cast<__m512>(y), std::bit_cast<__m512>(n)));
  else
    return std::bit_cast<V>(_mm512_scalef_pd(std::bit_cast<__m512d>(y), std::bit_cast<__m512d>(n)));
#else
  // in two steps, as 2^n alone may be no normal number
  using C = Constants<Element<V>>;
  const V half = fma(n, all<V>(0.5), C::kShift) - C::kShift;
  return y * power_of_2(half) * power_of_2(V(n - half));
#endif
}

/// e^x = 2^n e^(r + lost) of an x that is held, |r| < 0.35, `lost` in rounding r.
template <typename V>
struct Reduced {
  V n, r, lost;

  /// e^(x + low) of a low that is small.
  [[gnu::always_inline]] Reduced plus(const V& low) const {
    const V sum = r + low;
    return {n, sum, lost + (low - (sum - r))};
  }
};
template <typename V>
[[gnu::always_inline]] inline Reduced<V> reduced(const V& x) {
  using T = Element<V>;
  using C = Constants<T>;
  const V n = fma(x, all<V>(std::numbers::log2e_v<T>), C::kShift) - C::kShift;
  const V coarse = fma(n, all<V>(-C::kLn2High), x), r = fma(n, all<V>(-C::kLn2Low), coarse);
  return {n, r, fma(n, all<V>(-C::kLn2Low), V(coarse - r))};
}

/// e^x = 2^n (high + low).
template <typename V>
struct Power {
  V n, high, low;
  [[gnu::always_inline]] V fraction() const { return high + low; }
  [[gnu::always_inline]] V value() const { return scaled(fraction(), n); }
};
/// e^x + 2^n (one - 1), where |one| is larger than |r| or 0.
template <typename V>
[[gnu::always_inline]] inline Power<V> power_of(const Reduced<V>& x, const V& one = all<V>(1)) {
  const V rest = fma(V(x.r * x.r), polynomial(x.r, Constants<Element<V>>::kExp), x.lost);
  const V high = one + x.r;
  return {x.n, high, (x.r - (high - one)) + rest};
}

template <typename V>
[[gnu::always_inline]] inline V exp_of(const V& x) {
  return power_of(reduced(hold_above(hold_below(x)))).value();
}
/// e^-|x|.
template <typename V>
[[gnu::always_inline]] inline V exp_of_minus(const V& x) {
  return power_of(reduced(hold_below(V(-magnitude(x))))).value();
}

/// e^x - 1.
template <typename V>
[[gnu::always_inline]] inline V expm1_of(const V& x) {
  using T = Element<V>;
  const Reduced<V> from = reduced(hold_above(x < -60 ? all<V>(-60) : x));
  const V y = power_of(from, V(1 - power_of_2(from.n > 100 ? all<V>(-100) : V(-from.n)))).value();
  return magnitude(x) < std::numeric_limits<T>::epsilon() / 4 ? x : y;
}

/// x = 2^k (1 + f) of a positive normal x, with 1 + f between the roots of 1/2 and 2.
template <typename V>
struct Logarithm {
  V k, f;
  /// log(x) + low.
  [[gnu::always_inline]] V sum(const V& low = V{}) const {
    using C = Constants<Element<V>>;
    const V s = f / (2 + f), z = s * s, half = 0.5F * f * f;
    const V rest = fma(s, V(half + z * polynomial(z, C::kLog)), fma(k, all<V>(C::kLn2Low), low));
    return fma(k, all<V>(C::kLn2High), V(f - (half - rest)));
  }
};
template <typename V>
[[gnu::always_inline]] inline Logarithm<V> reduced_log(const V& x) {
  using T = Element<V>;
  using C = Constants<T>;
  using B = std::decay_t<decltype(Bits<V>{}[0])>;
  constexpr B kRoot = std::bit_cast<B>(std::numbers::sqrt2_v<T> / 2), kOne = std::bit_cast<B>(T(1));
  constexpr B kFraction = (B{1} << C::kMantissa) - 1;
  constexpr T kWhole = T(B{1} << C::kMantissa);  // its low bits count ones
  const Bits<V> moved = bits(x) + (kOne - kRoot);
  const V k = std::bit_cast<V>((moved >> C::kMantissa) | std::bit_cast<B>(kWhole)) - (kWhole + C::kBias);
  return {k, std::bit_cast<V>((moved & kFraction) + kRoot) - 1};
}

/// `y` for x in (0, inf), else the logarithm's limits: -inf at 0, NaN below.
template <typename V>
[[gnu::always_inline]] inline V log_limits(const V& x, const V& y) {
  constexpr auto kInfinity = std::numeric_limits<Element<V>>::infinity();
  const V below = x == 0 ? all<V>(-kInfinity) : all<V>(std::numeric_limits<Element<V>>::quiet_NaN());
  return x > 0 ? (x < kInfinity ? y : x) : below;
}

template <typename V>
[[gnu::always_inline]] inline V log_of(const V& x) {
  using T = Element<V>;
  using C = Constants<T>;
  constexpr T kMore = T(std::int64_t{1} << C::kMantissa);
  const auto tiny = x < std::numeric_limits<T>::min();
  Logarithm<V> y = reduced_log(tiny ? V(x * kMore) : x);
  y.k = tiny ? V(y.k - C::kMantissa) : y.k;
  return log_limits(x, y.sum());
}

/// log(1 + x).
template <typename V>
[[gnu::always_inline]] inline V log1p_of(const V& x) {
  using T = Element<V>;
  const V sum = 1 + x;
  Logarithm<V> y = reduced_log(sum);
  const V lost = y.k > 1 ? V(1 - (sum - x)) : V(x - (sum - 1));  // in rounding 1 + x
  y.f = y.k == 0 ? x : y.f;
  const V found = log_limits(sum, y.sum(y.k == 0 ? V{} : V(lost / sum)));
  return magnitude(x) < std::numeric_limits<T>::epsilon() / 4 ? x : found;
}

/// sigmoid(-|x|) = 2^n fraction, so that x times it can be scaled last; divisor = 1 + e^-|x|.
template <typename V>
struct Sigmoid {
  V n, fraction, divisor;
};
template <typename V>
[[gnu::always_inline]] inline Sigmoid<V> lower_sigmoid(const V& held) {
  const Power<V> power = power_of(reduced(held));
  const V z = power.value(), divisor = 1 + z;
  const V lost = z - (divisor - 1);
  return {power.n, power.high + fma(V(-power.high), lost, power.low), divisor};
}

/// 1 / (1 + e^-x), by e^x where x < 0, so that it ends among the denormals.
template <typename V>
[[gnu::always_inline]] inline V sigmoid_of(const V& x) {
  const Sigmoid<V> lower = lower_sigmoid(hold_below(V(-magnitude(x))));
  return (x < 0 ? scaled(lower.fraction, lower.n) : all<V>(1)) / lower.divisor;
}

/// x sigmoid(x), and its limit 0 at -inf.
template <typename V>
[[gnu::always_inline]] inline V silu_of(const V& x) {
  const V held = hold_below(V(-magnitude(x)));
  const Sigmoid<V> lower = lower_sigmoid(held);
  return x < 0 ? scaled(V(held * lower.fraction / lower.divisor), lower.n) : V(x / lower.divisor);
}

/// log(1 + e^x).
template <typename V>
[[gnu::always_inline]] inline V softplus_of(const V& x) {
  return (x < 0 ? V{} : x) + log1p_of(exp_of_minus(x));
}

template <typename V>
[[gnu::always_inline]] inline V tanh_of(const V& x) {
  using C = Constants<Element<V>>;
  const V a = magnitude(x), z = a * a;
  const V near = fma(V(a * z), polynomial(z, C::kTanh), a);
  const V far = 1 - 2 / (1 + power_of(reduced(hold_above(V(2 * a)))).value());
  return with_sign(a < Element<V>(0.625) ? near : far, x);
}

/// The upper tail of the normal distribution at a >= 0 is e^(-a²/2) times this, which is smooth: of f32, up to 14.5.
[[gnu::always_inline]] inline Floats tail_ratio(const Floats& a) {
  constexpr float c[] = {0.7552851438522339F,    -0.6078965663909912F,    0.38713690638542175F,    -0.1865234375F,
                         0.06040383130311966F,   -0.0075252726674079895F, -0.0035125548020005226F, 0.00156992522533983F,
                         0.0001793565897969529F, -0.00013197104271966964F};
  const Floats t = 1 / (a + 4);
  return t * polynomial(Floats((a - 4) * t), c);
}

/// What gelu and its gradient need of the normal distribution at x.
struct Normal {
  Floats held;   // |x|, at most 14.5, from where on f32 has no tail
  Floats bell;   // e^(-x²/2)
  Floats ratio;  // (1 - Φ(held)) / bell
};
[[gnu::always_inline]] inline Normal normal_of(const Floats& x) {
  const Floats size = magnitude(x), a = size > 14.5F ? all<Floats>(14.5F) : size;
#ifdef EIGEN_VECTORIZE_FMA
  const Floats half = -0.5F * a, high = half * a, low = fma(half, a, Floats(-high));
#else
  const Floats few = std::bit_cast<Floats>(bits(a) & 0xfffff000U);  // its square is exact
  const Floats high = -0.5F * few * few, low = -0.5F * (a - few) * (a + few);
#endif
  return {a, power_of(reduced(high).plus(low)).value(), tail_ratio(a)};
}

[[gnu::always_inline]] inline Floats erf_of(const Floats& x) {
  constexpr float c[] = {0.12837916612625122F,  -0.37612631916999817F,   0.11283687502145767F,  -0.026858940720558167F,
                         0.005199906881898642F, -0.0008130013011395931F, 8.316776074934751e-05F};
  const Floats size = magnitude(x), a = size > 5 ? all<Floats>(5) : size, z = a * a;
  const Floats near = fma(a, polynomial(z, c), a);
  const Floats far =
      1 - 2 * power_of(reduced(Floats(-z))).value() * tail_ratio(Floats(a * std::numbers::sqrt2_v<float>));
  return with_sign(a < 0.93F ? near : far, x);
}

/// x Φ(x).
[[gnu::always_inline]] inline Floats gelu_of(const Floats& x) {
  const Normal normal = normal_of(x);
  return (x < 0 ? Floats{} : x) - normal.held * normal.ratio * normal.bell;
}

/// Φ(x) + x φ(x).
[[gnu::always_inline]] inline Floats gelu_slope_of(const Floats& x) {
  constexpr float kScale = 0.3989422804014327F;  // 1 / √2π
  const Normal normal = normal_of(x);
  const Floats tail = normal.ratio * normal.bell;
  return (x < 0 ? tail : Floats(1 - tail)) + with_sign(normal.held, x) * (normal.bell * kScale);
}

/// The sine of x + quarters π/2. Beyond 8192 the C library's: the reduction by parts of π/2 that have few bits ends
/// there.
[[gnu::always_inline]] inline Floats sine(const Floats& x, std::uint32_t quarters) {
  constexpr float kSine[] = {-0.16666655242443085F, 0.00833216868340969F, -0.00019516012980602682F};
  constexpr float kCosine[] = {0.04166664555668831F, -0.0013887303648516536F, 2.44316688622348e-05F};
  constexpr float kShift = Constants<float>::kShift;
  const Floats size = magnitude(x);
  const Floats near = size >= 8192 ? Floats{} : x;  // NaN stays
  const Floats shifted = fma(near, all<Floats>(2 * std::numbers::inv_pi_v<float>), kShift), n = shifted - kShift;
  const Floats coarse = (near - n * 1.5703125F) - n * 0.0004837512969970703F, fine = n * 7.549533620476723e-08F;
  const Floats r = coarse - fine, lost = ((coarse - r) - fine) - n * 2.5633440682570896e-12F, z = r * r;
  const Floats sine = r + fma(Floats(r * z), polynomial(z, kSine), lost);
  const Floats cosine = (1 - 0.5F * z) + fma(Floats(z * z), polynomial(z, kCosine), Floats(-r * lost));
  const Bits<Floats> quarter = bits(shifted) + quarters;
  const Floats turned = (quarter & 1U) == 0U ? sine : cosine;
  Floats y = std::bit_cast<Floats>(bits(turned) ^ ((quarter & 2U) << 30));
  if (quarters == 0) y = size < 1e-4F ? x : y;
  if (!(Eigen::internal::predux_max(std::bit_cast<Eigen::internal::packet_traits<float>::type>(size)) < 8192))
    for (std::int64_t k = 0; k < kWidth<Floats>; ++k)
      if (!(size[k] < 8192)) y[k] = quarters == 0 ? std::sin(x[k]) : std::cos(x[k]);
  return y;
}
[[gnu::always_inline]] inline Floats sin_of(const Floats& x) { return sine(x, 0); }
[[gnu::always_inline]] inline Floats cos_of(const Floats& x) { return sine(x, 1); }

// f64 takes the functions of the C library, number by number.
template <typename F>
Doubles each(const Doubles& x, const F& f) {
  Doubles y;
  for (std::int64_t k = 0; k < kWidth<Doubles>; ++k) y[k] = f(x[k]);
  return y;
}
[[gnu::always_inline]] inline Doubles sin_of(const Doubles& x) {
  return each(x, [](double each) { return std::sin(each); });
}
[[gnu::always_inline]] inline Doubles cos_of(const Doubles& x) {
  return each(x, [](double each) { return std::cos(each); });
}
[[gnu::always_inline]] inline Doubles erf_of(const Doubles& x) {
  return each(x, [](double each) { return std::erf(each); });
}
/// By erfc where Φ is small, so that no digits cancel.
[[gnu::always_inline]] inline Doubles gelu_of(const Doubles& x) {
  return each(x, [](double each) {
    return each == -std::numeric_limits<double>::infinity() ? 0
                                                            : each * 0.5 * std::erfc(-each * std::numbers::sqrt2 / 2);
  });
}
[[gnu::always_inline]] inline Doubles gelu_slope_of(const Doubles& x) {
  return each(x, [](double each) {
    const double held = std::min(std::max(each, -1e4), 1e4);  // at ±inf the product would be inf times 0
    return each != each
               ? each
               : 0.5 * std::erfc(-held * std::numbers::sqrt2 / 2) +
                     held * std::exp(-0.5 * held * held) * (0.5 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
  });
}

}  // namespace twopass::kernels
