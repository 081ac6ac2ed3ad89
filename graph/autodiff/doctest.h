// For tests with doctest: CHECK(gradcheck(f, inputs)) shows the whole report where it fails.
#pragma once
#include <doctest/doctest.h>

#include <twopass/graph/autodiff/report.h>

namespace doctest {

template <>
struct StringMaker<twopass::GradcheckReport> {
  static String convert(const twopass::GradcheckReport& report) { return ("\n" + report.text()).c_str(); }
};

}  // namespace doctest
