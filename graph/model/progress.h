// What fit prints: Keras's progress bar, or a line an epoch. For the files of this folder.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include <twopass/graph/model/history.h>

namespace twopass {

/// A value as progress lines and histories show it: four places, or with an exponent where it is small.
std::string number_text(double value);

/// Prints one epoch's progress to stdout; colours and redrawing only on a terminal.
class Progress {
 public:
  Progress(int verbose, std::int64_t steps);
  void epoch(int number, int of);
  void step(std::int64_t done, const Logs& logs);
  void finish(const Logs& logs);

 private:
  double seconds() const;
  std::string line(std::int64_t done, const Logs& logs, bool final) const;

  int verbose_;
  std::int64_t steps_;
  bool terminal_;
  std::chrono::steady_clock::time_point begin_{};
  double first_step_ = 0;
  double last_drawn_ = 0;
  std::size_t drawn_columns_ = 0;
};

}  // namespace twopass
