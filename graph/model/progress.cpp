#include <twopass/graph/model/progress.h>

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace twopass {
namespace {

std::string logs_text(const Logs& logs) {
  std::string text;
  for (const auto& [name, value] : logs) text += fmt::format(" - {}: {}", name, number_text(value));
  return text;
}

std::string step_time(double seconds) {
  if (seconds >= 1 || seconds == 0) return fmt::format("{:.0f}s/step", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.0f}ms/step", seconds * 1e3);
  return fmt::format("{:.0f}us/step", seconds * 1e6);
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds);
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  if (whole >= 60) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

}  // namespace

std::string number_text(double value) {
  return std::abs(value) > 1e-3 ? fmt::format("{:.4f}", value) : fmt::format("{:.4e}", value);
}

Progress::Progress(int verbose, std::int64_t steps)
    : verbose_(verbose), steps_(steps), terminal_(isatty(STDOUT_FILENO)) {}

double Progress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

void Progress::epoch(int number, int of) {
  begin_ = std::chrono::steady_clock::now();
  first_step_ = last_drawn_ = 0;
  drawn_columns_ = 0;
  if (verbose_ > 0) fmt::print("Epoch {}/{}\n", number, of);
}

std::string Progress::line(std::int64_t done, const Logs& logs, bool final) const {
  const double elapsed = seconds();
  // The first step pays for what is set up once, and is left out of the estimate.
  const double each = done > 1 ? (elapsed - first_step_) / static_cast<double>(done - 1) : elapsed;
  const double shown = final ? elapsed : each * static_cast<double>(steps_ - done);
  const std::string count = fmt::format("{:>{}}/{}", done, std::to_string(steps_).size(), steps_);
  constexpr std::int64_t kWidth = 20;
  const std::int64_t filled = kWidth * done / std::max<std::int64_t>(steps_, 1);
  std::string bar, rest;
  for (std::int64_t k = 0; k < kWidth; ++k) (k < filled ? bar : rest) += "━";
  if (!terminal_)
    return fmt::format("{} {}{} {} {}{}", count, bar, rest, clock_text(shown), step_time(each), logs_text(logs));
  return fmt::format("\x1b[1m{}\x1b[0m \x1b[32m{}\x1b[0m\x1b[37m{}\x1b[0m \x1b[1m{}\x1b[0m {}{}", count, bar, rest,
                     clock_text(shown), step_time(each), logs_text(logs));
}

void Progress::step(std::int64_t done, const Logs& logs) {
  const double now = seconds();
  if (done == 1) first_step_ = now;
  if (verbose_ != 1 || !terminal_ || (now - last_drawn_ < 0.05 && done != 1)) return;
  last_drawn_ = now;
  fmt::print("\r{}\x1b[K", line(done, logs, false));
  std::fflush(stdout);
}

void Progress::finish(const Logs& logs) {
  if (verbose_ == 1) fmt::print("{}{}\n", terminal_ ? "\r\x1b[K" : "", line(steps_, logs, true));
  if (verbose_ == 2) {
    const double elapsed = seconds();
    fmt::print("{}/{} - {} - {}{}\n", steps_, steps_, clock_text(elapsed),
               step_time(elapsed / static_cast<double>(std::max<std::int64_t>(steps_, 1))), logs_text(logs));
  }
  std::fflush(stdout);
}

}  // namespace twopass
