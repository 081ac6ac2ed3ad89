#include <twopass/core/cifar.h>

#include <fmt/core.h>

#include <twopass/core/error.h>
#include <twopass/core/files.h>

namespace twopass {
namespace {

constexpr std::size_t kPixels = 3 * 32 * 32;
constexpr std::size_t kRecord = kPixels + 1;
constexpr std::uint64_t kLargest = std::uint64_t{1} << 30;

std::size_t checked_records(std::string_view bytes, std::string_view name) {
  if (bytes.empty()) throw Error(fmt::format("{}: is empty", name));
  if (bytes.size() % kRecord != 0)
    throw Error(fmt::format("{}: has {} bytes, which is no multiple of {} (a label and 3 x 32 x 32 pixels)", name,
                            bytes.size(), kRecord));
  const std::size_t records = bytes.size() / kRecord;
  for (std::size_t k = 0; k < records; ++k)
    if (const int label = static_cast<unsigned char>(bytes[k * kRecord]); label > 9)
      throw Error(
          fmt::format("{}: label {} at offset {} is {}, but there are 10 classes", name, k, k * kRecord, label));
  return records;
}

void convert(std::string_view bytes, float* pixels, std::int64_t* labels) {
  for (std::size_t record = 0; record < bytes.size() / kRecord; ++record) {
    const char* from = bytes.data() + record * kRecord;
    labels[record] = static_cast<unsigned char>(from[0]);
    for (std::size_t k = 0; k < kPixels; ++k)
      pixels[record * kPixels + k] = static_cast<float>(static_cast<unsigned char>(from[k + 1])) / 255.0f;
  }
}

CifarBatch batch_of(std::size_t records) {
  const auto count = static_cast<std::int64_t>(records);
  return {uninitialised({count, static_cast<std::int64_t>(kPixels)}, f32), uninitialised({count}, i64)};
}

}  // namespace

CifarBatch parse_cifar10(std::string_view bytes, std::string_view name) {
  const CifarBatch batch = batch_of(checked_records(bytes, name));
  convert(bytes, writable<float>(batch.inputs), writable<std::int64_t>(batch.labels));
  return batch;
}

CifarBatch read_cifar10(const std::vector<std::string>& paths) {
  if (paths.empty()) throw Error("read_cifar10: no files are given");
  std::vector<std::string> files;
  std::size_t records = 0;
  for (const std::string& path : paths) {
    files.push_back(read_file(path, kLargest));
    records += checked_records(files.back(), path);
  }
  const CifarBatch batch = batch_of(records);
  float* pixels = writable<float>(batch.inputs);
  std::int64_t* labels = writable<std::int64_t>(batch.labels);
  for (const std::string& file : files) {
    convert(file, pixels, labels);
    pixels += file.size() / kRecord * kPixels;
    labels += file.size() / kRecord;
  }
  return batch;
}

std::vector<std::string> read_cifar10_classes(std::string_view path) {
  const std::string text = read_file(path, 4096);
  std::vector<std::string> names(1);
  for (const char letter : text) {
    if (letter == '\n') {
      if (!names.back().empty()) names.emplace_back();
    } else if (letter != '\r') {
      names.back() += letter;
    }
  }
  if (names.back().empty()) names.pop_back();
  if (names.size() != 10) throw Error(fmt::format("{}: names {} classes, expected 10", path, names.size()));
  return names;
}

}  // namespace twopass
