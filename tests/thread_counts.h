// What several numbers of threads give.
#pragma once
#include <doctest/doctest.h>
#include <twopass/core/threads.h>

/// Checks that `f` gives with 2, 4 and 8 threads what it gives with 1; the number is then what it was.
template <typename F>
void check_equal_for_thread_counts(const F& f) {
  struct Restoring {
    int before = twopass::threads::count();
    ~Restoring() { twopass::threads::set_count(before); }
  } restoring;
  twopass::threads::set_count(1);
  const auto one = f();
  for (const int count : {2, 4, 8}) {
    CAPTURE(count);
    twopass::threads::set_count(count);
    CHECK(f() == one);
  }
}
