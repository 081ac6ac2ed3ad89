#include <twopass/core/files.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fmt/core.h>

#include <twopass/core/error.h>

namespace twopass {
namespace {

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

std::string checked_path(std::string_view path) {
  if (path.empty()) throw Error("a file's path is empty");
  if (path.find('\0') != std::string_view::npos) throw Error("a file's path contains a zero byte");
  return std::string(path);
}

[[noreturn]] void refuse_system(const std::string& path, const char* what) {
  throw Error(fmt::format("{}: {}: {}", path, what, std::strerror(errno)));
}

void check_regular(const std::string& path, const struct stat& status) {
  if (S_ISREG(status.st_mode)) return;
  const char* kind = S_ISDIR(status.st_mode)    ? "a directory"
                     : S_ISFIFO(status.st_mode) ? "a pipe"
                                                : "a device or socket";
  throw Error(fmt::format("{}: is {}, not a regular file", path, kind));
}

// Opens a new file in the folder of `path`, whose name it puts into `name`.
int new_file_beside(const std::string& path, std::string& name) {
  name = path + ".tmp-XXXXXX";
  const int file = ::mkostemp(name.data(), O_CLOEXEC);
  if (file >= 0) return file;
  const std::string reason = std::strerror(errno);
  const std::size_t slash = path.rfind('/');
  throw Error(fmt::format("{}: can't be written: no new file can be made in its folder \"{}\": {}", path,
                          slash == std::string::npos ? "." : path.substr(0, slash + 1), reason));
}

void write_all(int file, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse_system(path, "can't write");
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace

std::string read_file(std::string_view given, std::uint64_t limit) {
  const std::string path = checked_path(given);
  // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (file.number < 0) refuse_system(path, "can't open");
  struct stat status {};
  if (::fstat(file.number, &status) != 0) refuse_system(path, "can't read");
  check_regular(path, status);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > limit) throw Error(fmt::format("{}: has {} bytes, more than the limit of {}", path, size, limit));

  std::string bytes(size + 1, '\0');  // one more than expected shows a file that grows
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t count = ::read(file.number, bytes.data() + have, bytes.size() - have);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse_system(path, "can't read");
    if (count == 0) break;
    have += static_cast<std::size_t>(count);
  }
  if (have != size) throw Error(fmt::format("{}: changed its size from {} bytes while it was read", path, size));
  bytes.resize(size);
  return bytes;
}

void check_writable(std::string_view given) {
  const std::string path = checked_path(given);
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) check_regular(path, status);
  std::string temporary;
  const Descriptor file{new_file_beside(path, temporary)};
  ::unlink(temporary.c_str());
}

void write_file(std::string_view given, std::string_view bytes) {
  const std::string path = checked_path(given);
  struct stat status {};
  const bool there = ::stat(path.c_str(), &status) == 0;
  if (there) check_regular(path, status);

  std::string temporary;
  {
    const Descriptor file{new_file_beside(path, temporary)};
    try {
      write_all(file.number, bytes, path);
      // mkostemp makes private files; a written one gets the rights of the one it replaces, or the usual ones.
      const mode_t mode = there ? status.st_mode & 0777 : 0644;
      if (::fchmod(file.number, mode) != 0 || ::fsync(file.number) != 0) refuse_system(path, "can't write");
    } catch (...) {
      ::unlink(temporary.c_str());
      throw;
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    ::unlink(temporary.c_str());
    errno = reason;
    refuse_system(path, "can't rename the new file to it");
  }
}

bool is_file(std::string_view path) {
  struct stat status {};
  return ::stat(checked_path(path).c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

}  // namespace twopass
