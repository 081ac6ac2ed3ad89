#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <twopass/graph/autodiff/coverage.h>

#include <cstdlib>

// With TWOPASS_COVERAGE set, a table of the ops that gradient checks met follows the results.
int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  const int result = context.run();
  if (std::getenv("TWOPASS_COVERAGE")) fmt::print("{}", twopass::gradcheck_coverage_text());
  return result;
}
