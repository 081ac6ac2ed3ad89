#include <adbench/gmm.h>
#include <adbench/lstm.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

using namespace twopass;
using namespace adbench;

namespace {

// The objective and the elements of its gradients.
struct Expected {
  double objective;
  std::vector<std::vector<double>> gradients;
};

// Three axes: only then can rows and columns of the lower entries be mistaken for each other.
const char* const kMixture = R"(3 2 4
0.25
-0.75
0.5 -1.0 0.3
-0.4 0.2 1.1
0.1 -0.3 0.2 0.7 -0.5 0.9
-0.2 0.4 0.05 -0.6 0.8 0.35
0.9 -0.8 0.1
-0.3 0.5 1.4
1.2 0.6 -0.7
-1.1 0.0 0.45
1.5 2
)";

const char* const kText = R"(2 4 3

0.2 -0.4 0.6 0.1 0.3 -0.5 0.7 -0.2 0.4 0.9 -0.6 0.8
0.5 -0.1 0.3 -0.7 0.2 0.6 -0.3 0.4 0.1 0.15 -0.25 0.35
-0.8 0.45 0.55 0.65 -0.15 0.05 0.95 0.75 -0.35 -0.45 0.85 0.25
0.1 0.2 -0.3 0.4 -0.5 0.6 0.7 -0.8 0.9 -0.1 0.3 -0.2

0.9 -1.1 1.3
1.5 0.7 -0.9
0.2 -0.6 0.4

0.3 -0.2 0.1
0.6 0.5 -0.4
-0.7 0.8 0.9
0.15 -0.25 0.35

1 0 1
0 1 1
1 1 0
0 0 1
)";

Tensors variables_of(const Problem& problem) {
  Tensors variables;
  for (const Tensor& value : problem.parameters) variables.push_back(variable(value));
  return variables;
}

// Expected numbers come from the formulas in mpmath with 50 digits, gradients from differences with steps of 1e-20.
void check(const Problem& problem, const Expected& expected) {
  const Tensors found = both_passes(problem)(variables_of(problem));
  CHECK(found[0].item<double>() == doctest::Approx(expected.objective).epsilon(1e-14));
  REQUIRE(found.size() == expected.gradients.size() + 1);
  for (std::size_t k = 0; k < expected.gradients.size(); ++k) {
    const std::vector<double> gradient = found[k + 1].values<double>();
    REQUIRE(gradient.size() == expected.gradients[k].size());
    for (std::size_t at = 0; at < gradient.size(); ++at) {
      CAPTURE(problem.names[k]);
      CAPTURE(at);
      const double wanted = expected.gradients[k][at];
      CHECK(std::abs(gradient[at] - wanted) <= std::max(1e-10 * std::abs(wanted), 1e-100));
    }
  }
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

}  // namespace

TEST_CASE("a mixture's objective and gradients are those of 50 digits") {
  const Expected expected{-2.1336644873735304,
                          {{-1.2518842855420329, 1.2518842855420329},
                           {1.437683912228706, 0.93220948287811711, 0.02707199164310635, -0.61420899881578372,
                            0.089278015232210239, -0.88179273959291693},
                           {1.3949125691621533, -0.14592978110953461, 2.7741696187926843, 0.70521447842525331,
                            -0.44733086365845864, 1.8179658920930388, 0.70237216613290832, 5.2197152484596856,
                            1.469625852218331, -0.96865636782234832, 1.3572825013115939, 0.50236976656450028}}};
  check(read_gmm(kMixture, "mixture"), expected);
}

TEST_CASE("a mixture of one component on a line has no lower entries and no gradient of its weight") {
  const Expected expected{-3.6705445542390596, {{0}, {-0.91105940019525444}, {-5.4023576265864426}}};
  check(read_gmm("1 1 2\n0.5\n-0.25\n0.3\n1.0\n-2.0\n0.75 0\n", "line"), expected);
}

TEST_CASE("points whose densities underflow leave a mixture's objective finite and right") {
  const Expected expected{
      -181805558.83640042,
      {{0, 0},
       {-29882.977478628982, 74716.278059648437, 0, 0},
       {-59511926.937977187, -312923120.03123921, 17647520.943223309, 7.3890560989306504, 148.4131591025766, -0.5}}};
  check(read_gmm("2 2 2\n300 -500\n0 1 1 -1\n2.0 1.5 0.5\n1.0 2.5 -0.5\n300 -200\n-1000 4000\n1.0 0\n", "far"),
        expected);
}

TEST_CASE("an LSTM's loss and gradients are those of 50 digits") {
  const Expected expected{
      0.94853010964475359,
      {{0.00014827235279278825,  5.8752350983575309e-05,  -3.5365112114477639e-05, 4.9298874908788038e-05,
        4.583765167632125e-06,   6.2101112955673012e-06,  0.00020638796393016948,  -2.2315346834771656e-05,
        -2.6699537749673102e-05, 0.00015734769795288557,  1.4334116697668851e-05,  3.4972557376813598e-05,
        0.00024173506911935575,  -0.00014941071970551412, -1.7074633301372474e-05, 0.00016230957293183771,
        0.00010333454804789854,  5.0902424305810676e-05,  0.00045419232472881254,  1.6266762115328314e-05,
        2.3915596453203499e-05,  0.00051218465214550497,  -0.00091071929990873179, 0.00026670960514203653,
        4.2056290539883729e-05,  0.00019651027673356502,  -0.00020569248285351978, -0.0015208156609421008,
        -0.0041693570146165166,  0.0002579650320786424,   0.00098556081200432176,  -0.00011107493663027451,
        -0.0003915068019886727,  -0.020052833310745182,   -0.0038286590192067212,  0.014168121314706071,
        -0.00073535414682430393, 0.0014637192007542221,   0.0013053531400840368,   0.0040441214311635011,
        -0.0062200098704977575,  -0.001514666070668951,   0.0034617053719786547,   -0.0037641648626106777,
        -0.00016987182566646403, 0.002987114502696175,    -0.0093184505219138618,  0.038244068027315128},
       {0.00019347338367741809, 1.7307155478614357e-05, -2.4537601821966017e-05, 0.0069684712780449963,
        -0.0076434885419092843, -0.0002007039323149831, 0.023952834275613576, -0.16307247844944384,
        -0.06877145802738821}}};
  check(read_lstm(kText, "text"), expected);
}

TEST_CASE("an LSTM's outputs whose exponentials overflow leave its loss finite and right") {
  const Expected expected{
      753.65348048477415,
      {{13.139197564311058, 10.625608519113298, 8.8850023945512575, 7.1739244053237172, 17.85842546010652,
        59.058777615091415, 18.739769791063715, 12.223880263682428, 25.489797712372823, 19.336135884964268,
        43.542768249484418, 30.144598835983651, 49.729698422546008, 71.570422166433062, 96.937371357861394,
        52.243498261027447},
       {24.428024242262051, -32.185790937324036, 0.19692796166692006, -0.12618192915378837, 0.5, -0.5}}};
  check(read_lstm("1 3 2\n"
                  "0.5 -0.5 0.25 0.75 1.0 -1.0 0.3 0.6\n0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8\n"
                  "1.0 2.0\n900 -1200\n800 -50\n0.1 0.2\n0.3 0.4\n1 0\n0 1\n1 1\n",
                  "loud"),
        expected);
}

TEST_CASE("planned, ADBench's objectives and gradients are what they are eagerly") {
  for (const Problem& problem : {read_gmm(kMixture, "mixture"), read_lstm(kText, "text")}) {
    const Tensors eager = both_passes(problem)(variables_of(problem));
    const Tensors planned = plan(both_passes(problem), problem.parameters)(problem.parameters);
    REQUIRE(planned.size() == eager.size());
    for (std::size_t k = 0; k < eager.size(); ++k) CHECK(planned[k].values<double>() == eager[k].values<double>());
  }
}

TEST_CASE("white space, signs and blank lines are read as scanf reads them") {
  const std::string text = replaced(replaced(kMixture, "0.25\n", "\r\n\t+0.25 \n\n"), "1.5 2\n", "1.5\n+2");
  CHECK(read_gmm(text, "spaced").parameters[0].values<double>() == std::vector{0.25, -0.75});
}

TEST_CASE("mixtures that are none are refused with line and words") {
  const auto refused = [](const std::string& text, const char* words) {
    CHECK_THROWS_WITH_AS(read_gmm(text, "bad.txt"), doctest::Contains(words), Error);
  };
  refused("", "bad.txt: line 1: ends before d");
  refused("3 2", "line 1: ends before n");
  refused("3 two 4", "line 1: k is \"two\", not an integer");
  refused("3 2.5 4", "k is \"2.5\", not an integer");
  refused("0 2 4", "d is 0, not in 1 … 2147483647");
  refused("3 -2 4", "k is -2, not in 1 … 2147483647");
  refused("3 2 99999999999999999999", "n is 99999999999999999999, not in 1 … 2147483647");
  refused("3 2000000000 4\n1",
          "alphas (2000000000) are 2000000000 numbers, more than the 2 bytes that are left can hold");
  refused("2147483647 1 4\n1 ", "means (1, 2147483647) are 2147483647 numbers");
  refused(replaced(kMixture, "0.3\n", "nan\n"), "line 4: means: \"nan\" is not finite");
  refused(replaced(kMixture, "0.3\n", "1e999\n"), "line 4: means: \"1e999\" is out of range");
  refused(replaced(kMixture, "-0.8", "-0,8"), "line 8: points: \"-0,8\" is not a number");
  refused(replaced(kMixture, "-0.8", "+-0.8"), "points: \"+-0.8\" is not a number");
  refused(std::string(kMixture).substr(0, 100), "line 7: points (4, 3) are 12 numbers");
  refused(replaced(kMixture, "1.5 2\n", ""), "line 12: ends before gamma");
  refused(replaced(kMixture, "1.5 2\n", "0 2\n"), "line 12: gamma is 0, not above 0");
  refused(replaced(kMixture, "1.5 2\n", "1.5 -1\n"), "m is -1, not in 0 …");
  refused(replaced(kMixture, "1.5 2\n", "1.5 2 7\n"), "line 12: goes on with \"7\" after the last number");
}

TEST_CASE("LSTM instances that are none are refused with line and words") {
  const auto refused = [](const std::string& text, const char* words) {
    CHECK_THROWS_WITH_AS(read_lstm(text, "bad.txt"), doctest::Contains(words), Error);
  };
  refused("2 1 3", "line 1: c is 1, not in 2 … 2147483647");
  refused("0 4 3", "l is 0, not in 1 …");
  refused("1000000000 4 1000000000", "main (2000000000, 4000000000) are 8e+18 numbers");
  refused("2147483647 4 2147483647", "line 1: main (4294967294, 8589934588) are 3.68934881");
  refused(replaced(kText, "1 0 1\n", "THE SONNETS\n"), "line 17: sequence: \"THE\" is not a number");
  refused(replaced(kText, "0 0 1\n", "0 0\n"), "line 21: ends before sequence");
  refused(replaced(kText, "0 0 1\n", "0 0 1 0\n"), "line 20: goes on with \"0\"");
}
