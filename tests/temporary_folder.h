// A folder of a test's own, gone with its scope: test programs may run side by side.
#pragma once
#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

struct TemporaryFolder {
  std::string path = (std::filesystem::temp_directory_path() / "twopass_XXXXXX").string();

  TemporaryFolder() {
    if (!::mkdtemp(path.data())) throw std::runtime_error("no folder can be made like " + path);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string at(const std::string& name) const { return path + "/" + name; }
};
