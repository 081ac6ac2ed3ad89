// What is printed while a function runs.
#pragma once
#include <unistd.h>

#include <cstdio>
#include <stdexcept>
#include <string>

/// What `f` writes to stdout; what it throws goes on, and stdout with it.
template <typename F>
std::string captured(const F& f) {
  std::fflush(stdout);
  struct Redirected {
    std::FILE* file = std::tmpfile();
    int before = ::dup(STDOUT_FILENO);
    Redirected() {
      if (!file || before < 0 || ::dup2(::fileno(file), STDOUT_FILENO) < 0)
        throw std::runtime_error("stdout can't be captured");
    }
    ~Redirected() {
      std::fflush(stdout);
      ::dup2(before, STDOUT_FILENO);
      ::close(before);
      std::fclose(file);
    }
  } to;
  f();
  std::fflush(stdout);
  std::rewind(to.file);
  std::string text;
  for (int c = std::fgetc(to.file); c != EOF; c = std::fgetc(to.file)) text += static_cast<char>(c);
  return text;
}
