// From which size on two threads are faster than one.
#pragma once

/// Prints, for products, sums and elementwise functions of growing size, the microseconds that they take on one thread
/// and in two halves on two: with both threads awake and each half in its thread's cache; once the caller has written
/// what is read; once the other thread has gone to sleep. Each row takes about so many seconds.
void measure_sharing(double seconds);
