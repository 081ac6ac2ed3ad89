// Data sets to learn from: MNIST and CIFAR-10 from files, drawn digits from nothing.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass::data {

/// Samples: inputs f32 [n, features] in 0..1 and labels i64 [n], whose names are `classes`. Sets of digits also have
/// flags f32 [n, 4] and facts f32 [n, 8], which are *derived from the labels* (`digit_flags`, `digit_facts`) so that
/// several outputs and several inputs can be tried; elsewhere these two are undefined.
struct Set {
  Tensor inputs;
  Tensor labels;
  Tensor flags;
  Tensor facts;
  std::vector<std::string> classes;
};

struct Split {
  Set train;
  Set test;
};

/// The folder of the data sets: `given`, else $TWOPASS_DATA, else twopass in $XDG_CACHE_HOME or in ~/.cache.
std::string directory_of(std::string_view given = "");

/// CIFAR-10 (50,000 and 10,000 of 3072 features) from DIRECTORY/cifar-10-batches-bin. Refuses a folder without it.
Split cifar10(std::string_view directory = "");

/// MNIST (60,000 and 10,000 of 784 features) from DIRECTORY/mnist/*-ubyte; flags and facts are derived from the labels,
/// the noise of the facts with seeds 1 (train) and 2 (test). Refuses a folder without it.
Split mnist(std::string_view directory = "");

struct GlyphOptions {
  std::int64_t samples = 1000;
  std::uint64_t seed = 0;
};

/// Drawn digits: strokes rendered at 28 x 28 (784 features) with random affine distortion, thickness and noise. Equal
/// seeds give equal sets; classes are in random order and as equally frequent as the number of samples allows. Flags
/// and facts are derived from the labels. Refuses fewer than 1 and more than 10,000,000 samples.
Set glyphs(const GlyphOptions& options = {});

/// f32 [n, 4] of digits i64 [n]: is it even, prime, written with a closed loop (0, 6, 8, 9), above 4; each 0 or 1.
Tensor digit_flags(const Tensor& labels);

/// f32 [n, 8] of digits d: the four flags, d / 9, (d mod 3) / 2, the number of closed loops / 2, and (d mod 4) / 3,
/// each plus normal noise of standard deviation 0.3 that follows from the seed.
Tensor digit_facts(const Tensor& labels, std::uint64_t seed);

}  // namespace twopass::data
