// Whole files, in and out.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace twopass {

/// Most bytes that `read_file` takes unless told: 16 GiB.
inline constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 34;

/// The bytes of a regular file. Refuses what is not there, directories, pipes and devices, files of more than `limit`
/// bytes, and files that change their size while they are read.
std::string read_file(std::string_view path, std::uint64_t limit = kLargestFile);

/// Writes a file so that the path holds either what it held before or all of `bytes`: through a temporary file beside
/// it, which is renamed. Refuses a path that is there and is not a regular file.
void write_file(std::string_view path, std::string_view bytes);

/// Refuses a path that write_file refuses, leaving what is there as it is.
void check_writable(std::string_view path);

/// Whether the path is a regular file (links are followed).
bool is_file(std::string_view path);

}  // namespace twopass
