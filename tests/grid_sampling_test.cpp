// Images through grids of points. Numbers are PyTorch's.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <twopass/core/error.h>
#include <twopass/graph/autodiff/backward.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/grid_sampling.h>
#include <twopass/ops/reduction.h>

#include "window_checks.h"

using namespace twopass;
using doctest::Contains;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor images() { return sines({2, 2, 3, 4}, 0.1); }
Tensor points() { return sines({2, 2, 3, 2}, 0.7) * 1.4; }
// Pairs of x and y for one image.
Tensor grid(const Values& pairs) {
  return from_values(pairs, {1, 1, static_cast<std::int64_t>(pairs.size()) / 2, 2}, f64);
}

}  // namespace

TEST_CASE("points between elements see them by their nearness, points beyond see nothing, the border or a mirror") {
  const auto check = [](const GridSampleOptions& options, const Values& first, const Values& last) {
    const Tensor y = grid_sample(images(), points(), options);
    CHECK(y.shape() == Shape{2, 2, 2, 3});
    check_ends(y, first, last);
  };
  using enum GridPadding;
  check({}, {0, 0.258048984876465, 0, 0, 0.216715185308916, 0, 0, 0.622080527958238},
        {-0.0111960296896167, 0.399723321749208, 0, 0, 0.0838306266492249, -0.100104027187253, -0.0130330155032174,
         0.377575665435718, 0, 0});
  check({.padding = border}, {-0.994552588203989, 0.290810502584534, 0.0998334166468282, -0.85916693387556},
        {0.859845030665003, -0.75888774623368, -0.999599142552803, 0.895374439536002, -0.292310212176596,
         -0.999599142552803});
  check({.padding = reflection}, {-0.852368772239941, 0.290810502584534, 0.337075550171661, -0.76490374269945},
        {0.859845030665003, -0.75888774623368, -0.999599142552803, 0.895374439536002, -0.210250863690114,
         -0.865613763577841});
  check({.align_corners = true}, {-0.57508285553297, 0.444528278852016, -0.0441981358796503, -0.465171764686556},
        {0.632185018743094, -0.552595363941962, -0.535796124198477, 0.844188912312526, -0.217805610097983,
         -0.577540063982746});
  check({.padding = border, .align_corners = true}, {-0.940185960117435, 0.444528278852016, -0.110450839300237},
        {0.864038098175888, -0.763325322812989, -0.999599142552803, 0.890685154829137, -0.4522736334416,
         -0.94166146389091});
  check({.padding = reflection, .align_corners = true}, {-0.344063914455304, 0.444528278852016, 0.240747024543746},
        {0.417858581409132, -0.809819397400781, -0.520253754122038, 0.824011260238372, -0.335013227747413,
         -0.364488511125907});
}

TEST_CASE("the nearest element is seen whole, with no gradient to the points") {
  const auto near = [](GridPadding padding, bool align) {
    return grid_sample(images(), points(), {Interpolation::nearest, padding, align});
  };
  check_ends(near(GridPadding::zeros, false),
             {0, 0.0415806624332905, 0, 0, 0.0415806624332905, 0, 0, 0.571196869659989});
  check_ends(near(GridPadding::border, false), {-0.994552588203989, 0.0415806624332905, 0.0998334166468282},
             {-0.999599142552803, 0.899097240144582, 0.0238875315027389, -0.999599142552803});
  check_ends(near(GridPadding::zeros, true), {-0.994552588203989, 0.863209366648874, 0, -0.625070648892882},
             {-0.772200475971607, -0.999599142552803, 0.899097240144582, 0, -0.999599142552803});
  check_ends(near(GridPadding::reflection, true), {-0.994552588203989, 0.863209366648874, 0.891207360061435},
             {-0.999599142552803, 0.899097240144582, -0.951874658346965, -0.999599142552803});
  const Tensor at = variable(points());
  const Tensor y = grid_sample(images(), at, {.interpolation = Interpolation::nearest});
  CHECK_FALSE(y.recorded());
}

TEST_CASE("gradients go to what a point sees and to where it lies") {
  const Tensor x = variable(images()), at = variable(points());
  const Gradients found = backward(sum(grid_sample(x, at) * sines({2, 2, 2, 3}, 0.2)));
  check_ends(found[x], {0, 0, 0.250871097056115, 0.255994964569775, 0, 0, 0, -0.240847932316494},
             {0.044528976949437, 0, 0.267575672621577, -0.0266501529677973, 0.000757308326533371});
  check_ends(found[at], {0, 0, -1.9620406491799, 1.24118207420276, 0, 0, 0, 0, 1.19209997654609, -0.359947091507302},
             {0.0438509686176262, 1.05509750101278, 0.893056873635273, 0.0299959478887991, -0.306299451570669,
              -0.428799693035227, -0.253355867920039, -1.64671562213147, 0, 0, 0, 0});
}

TEST_CASE("a point on the border or held to it takes no gradient, as in PyTorch") {
  const Tensor at = variable(grid({-1, -1, 1, 1, 0, 2}));
  const Tensor y = grid_sample(sines({1, 1, 3, 4}, 0.1), at, {.padding = GridPadding::border, .align_corners = true});
  check_ends(y, {0.0998334166468282, -0.994552588203989, -0.152986143271765});
  check_ends(backward(sum(y))[at], {0, 0, 0, 0, -1.41625351686335, 0});
}

TEST_CASE("a point that is NaN gives NaN, one at infinity what lies beyond, and what is not seen does not matter") {
  const Tensor x = tensor({{{{1.0, 2.0}, {3.0, 4.0}}}}, f64);
  const Tensor odd = grid({std::nan(""), 0, kInf, 0, 0, -kInf});
  const auto zeros = grid_sample(x, odd).values<double>();
  CHECK(std::isnan(zeros[0]));
  CHECK(zeros[1] == 0);
  CHECK(zeros[2] == 0);
  const auto border = grid_sample(x, odd, {.padding = GridPadding::border}).values<double>();
  CHECK(std::isnan(border[0]));
  CHECK(border[1] == 3);
  CHECK(border[2] == 1.5);
  const Tensor endless = tensor({{{{kInf, 2.0}, {3.0, std::nan("")}}}}, f64);
  CHECK(grid_sample(endless, grid({1, -1, -1, 1, 3, 3}), {.align_corners = true}).values<double>() == Values{2, 3, 0});
}

TEST_CASE("N24: a point outside takes no part in any pixel's gradient, though that is infinite there") {
  const Tensor x = variable(tensor({{{{1.0, 4.0}}}}, f64));
  const Tensor at = variable(grid({0.5, 0, 5, 5}));
  const Tensor y = sqrt(grid_sample(x, at));
  CHECK(y.values<double>() == Values{2, 0});
  const auto found = gradients(sum(y), {x, at});
  CHECK(found[0].values<double>() == Values{0, 0.25});
  for (const double slope : found[1].values<double>()) CHECK(std::isfinite(slope));
}

TEST_CASE("one element along an axis, no points and open batches are sampled too") {
  const Tensor dot = tensor({{{{5.0}}}}, f64);
  for (const bool align : {false, true})
    for (const GridPadding padding : {GridPadding::border, GridPadding::reflection})
      CHECK(grid_sample(dot, grid({0, 0, 0.3, -5}), {.padding = padding, .align_corners = align}).values<double>() ==
            Values{5, 5});
  CHECK(grid_sample(images(), zeros({2, 0, 3, 2}, f64)).shape() == Shape{2, 2, 0, 3});
  const Tensor x = input({2, 3, 4}), at = input({2, 3, 2});
  CHECK(grid_sample(x, at).shape() == Shape{kOpen, 2, 2, 3});
}

TEST_CASE("an affine grid maps evenly spaced points") {
  const Tensor theta = tensor({{{1.0, 0.5, 0.1}, {-0.3, 0.8, -0.2}}}, f64);
  check_ends(affine_grid(theta, {2, 3}), {-0.816666666666667, -0.4, -0.15, -0.6, 0.516666666666667, -0.8,
                                          -0.316666666666667, 0.4, 0.35, 0.2, 1.01666666666667});
  CHECK(affine_grid(theta, {2, 3}).shape() == Shape{1, 2, 3, 2});
  check_ends(affine_grid(theta, {2, 3}, true), {-1.4, -0.7, -0.4, -1, 0.6, -1.3, -0.4, 0.9, 0.6, 0.6, 1.6, 0.3});
  check_ends(affine_grid(theta, 1, true), {0.1, -0.2});
  const Tensor same = affine_grid(tensor({{{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}}}, f64), {3, 4});
  check_ends(grid_sample(sines({1, 2, 3, 4}, 0.1), same), sines({1, 2, 3, 4}, 0.1).values<double>());
  CHECK(affine_grid(input({2, 3}), {4, 5}).shape() == Shape{kOpen, 4, 5, 2});
}

TEST_CASE("sampling is differentiated right to second order, in images, points and maps") {
  const Tensor x = sines({1, 2, 3, 4}, 0.1), at = sines({1, 2, 2, 2}, 0.7) * 0.8;
  const Tensor theta = tensor({{{0.7, 0.2, 0.1}, {-0.3, 0.5, -0.12}}}, f64);
  for (const bool align : {false, true}) {
    for (const GridPadding padding : {GridPadding::zeros, GridPadding::border, GridPadding::reflection})
      check_gradients(
          [&](const Tensors& in) { return grid_sample(in[0], in[1], {.padding = padding, .align_corners = align}); },
          {x, at * 1.6}, 2);
    check_gradients(
        [&](const Tensors& in) {
          return grid_sample(in[0], affine_grid(in[1], {2, 3}, align));
        },
        {x, theta}, 2);
  }
}

TEST_CASE("grids and maps that do not fit are refused") {
  const Tensor x = images();
  CHECK_THROWS_WITH_AS(grid_sample(x, zeros({2, 2, 3, 3}, f64)),
                       "grid_sample((2, 2, 3, 4), (2, 2, 3, 3)): a point has 2 coordinates, not 3", Error);
  CHECK_THROWS_WITH_AS(grid_sample(x, zeros({1, 2, 3, 2}, f64)), Contains("2 images do not go with 1 grids"), Error);
  CHECK_THROWS_WITH_AS(grid_sample(zeros({2, 3}), zeros({2, 2})), Contains("must have four axes"), Error);
  CHECK_THROWS_WITH_AS(grid_sample(zeros({2, 2, 0, 4}), zeros({2, 2, 3, 2})), Contains("must be known, and not none"),
                       Error);
  CHECK_THROWS_WITH_AS(grid_sample(x, zeros({2, 2, 3, 2}, f32)), Contains("x is f64 and the grid f32"), Error);
  CHECK_THROWS_WITH_AS(affine_grid(zeros({2, 3}), 2), "affine_grid(2, 3): maps are (n, 2, 3)", Error);
  CHECK_THROWS_WITH_AS(affine_grid(zeros({1, 2, 3}, i64), 2), Contains("only f32 and f64 have this, not i64"), Error);
  CHECK_THROWS_WITH_AS(affine_grid(zeros({1, 2, 3}), {0, 2}), Contains("a grid cannot have 0 by 2 points"), Error);
}
