#include <twopass/core/idx.h>

#include <fmt/core.h>

#include <twopass/core/error.h>
#include <twopass/core/files.h>

namespace twopass {
namespace {

constexpr std::uint32_t kImages = 0x0803;
constexpr std::uint32_t kLabels = 0x0801;

std::uint32_t big_endian(std::string_view bytes, std::size_t offset) {
  std::uint32_t value = 0;
  for (std::size_t k = 0; k < 4; ++k) value = value << 8 | static_cast<unsigned char>(bytes[offset + k]);
  return value;
}

void check_head(std::string_view bytes, std::string_view name, std::uint32_t magic, std::size_t head) {
  if (bytes.size() >= 2 && bytes[0] == '\x1f' && bytes[1] == '\x8b')
    throw Error(fmt::format("{}: is packed by gzip; unpack it first", name));
  if (bytes.size() < head)
    throw Error(fmt::format("{}: has {} bytes, but an IDX header has {}", name, bytes.size(), head));
  if (const std::uint32_t found = big_endian(bytes, 0); found != magic)
    throw Error(fmt::format("{}: magic at offset 0 is {:#06x}, expected {:#06x} ({})", name, found, magic,
                            magic == kImages ? "images" : "labels"));
}

void check_size(std::string_view bytes, std::string_view name, std::uint64_t expected) {
  if (bytes.size() != expected)
    throw Error(fmt::format("{}: has {} bytes, but its header says {}", name, bytes.size(), expected));
}

}  // namespace

Tensor parse_idx_images(std::string_view bytes, std::string_view name) {
  constexpr std::size_t kHead = 16;
  check_head(bytes, name, kImages, kHead);
  const std::int64_t count = big_endian(bytes, 4), rows = big_endian(bytes, 8), columns = big_endian(bytes, 12);
  if (count == 0 || rows == 0 || columns == 0)
    throw Error(fmt::format("{}: says {} images of {} by {}: there is nothing in it", name, count, rows, columns));
  // rows * columns fits 64 bits; dividing what is there avoids the product that might not.
  const auto pixels = static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(columns);
  const std::uint64_t body = bytes.size() - kHead;
  if (body % pixels != 0 || body / pixels != static_cast<std::uint64_t>(count))
    throw Error(fmt::format("{}: has {} bytes after offset {}, but its header says {} images of {} by {}", name, body,
                            kHead, count, rows, columns));
  Tensor images = uninitialised({count, static_cast<std::int64_t>(pixels)}, f32);
  float* to = writable<float>(images);
  for (std::size_t k = 0; k < body; ++k)
    to[k] = static_cast<float>(static_cast<unsigned char>(bytes[kHead + k])) / 255.0f;
  return images;
}

Tensor parse_idx_labels(std::string_view bytes, std::string_view name, int classes) {
  constexpr std::size_t kHead = 8;
  check_head(bytes, name, kLabels, kHead);
  const std::int64_t count = big_endian(bytes, 4);
  if (count == 0) throw Error(fmt::format("{}: says 0 labels: there is nothing in it", name));
  check_size(bytes, name, kHead + static_cast<std::uint64_t>(count));
  Tensor labels = uninitialised({count}, i64);
  std::int64_t* to = writable<std::int64_t>(labels);
  for (std::int64_t k = 0; k < count; ++k) {
    const std::size_t offset = kHead + static_cast<std::size_t>(k);
    const int label = static_cast<unsigned char>(bytes[offset]);
    if (label >= classes)
      throw Error(
          fmt::format("{}: label {} at offset {} is {}, but there are {} classes", name, k, offset, label, classes));
    to[k] = label;
  }
  return labels;
}

Tensor read_idx_images(std::string_view path) { return parse_idx_images(read_file(path), path); }

Tensor read_idx_labels(std::string_view path, int classes) { return parse_idx_labels(read_file(path), path, classes); }

}  // namespace twopass
