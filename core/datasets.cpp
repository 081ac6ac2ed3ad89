#include <twopass/core/datasets.h>

#include <cstdlib>

#include <fmt/core.h>

#include <twopass/core/cifar.h>
#include <twopass/core/error.h>
#include <twopass/core/files.h>
#include <twopass/core/idx.h>
#include <twopass/core/random.h>

namespace twopass::data {
namespace {

const std::vector<std::string> kDigits = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// `given` is the caller's folder, or empty.
void check_there(const std::string& path, const std::string& folder, std::string_view set, std::string_view given) {
  if (is_file(path)) return;
  const std::string found = fmt::format("{} is not in {} ({} is missing); ", set, folder, path);
  if (given.empty())
    throw Error(found + fmt::format("run tools/fetch-data {}, or name another folder by TWOPASS_DATA", set));
  throw Error(found + fmt::format("tools/fetch-data {} {} downloads it to there", set, given));
}

Set mnist_part(std::string_view given, const std::string& part, std::uint64_t seed) {
  const std::string folder = directory_of(given) + "/mnist";
  const std::string images = folder + "/" + part + "-images-idx3-ubyte",
                    labels = folder + "/" + part + "-labels-idx1-ubyte";
  check_there(images, folder, "mnist", given);
  check_there(labels, folder, "mnist", given);
  Set set{read_idx_images(images), read_idx_labels(labels), {}, {}, kDigits};
  if (set.inputs.shape()[0] != set.labels.shape()[0])
    throw Error(fmt::format("{}: has {} images, but {} has {} labels", images, set.inputs.shape()[0], labels,
                            set.labels.shape()[0]));
  if (set.inputs.shape()[1] != 784)
    throw Error(fmt::format("{}: images have {} pixels, expected 28 x 28", images, set.inputs.shape()[1]));
  set.flags = digit_flags(set.labels);
  set.facts = digit_facts(set.labels, seed);
  return set;
}

int loops(std::int64_t digit) { return digit == 8 ? 2 : digit == 0 || digit == 6 || digit == 9 ? 1 : 0; }

void write_flags(std::int64_t digit, float* to) {
  to[0] = digit % 2 == 0;
  to[1] = digit == 2 || digit == 3 || digit == 5 || digit == 7;
  to[2] = loops(digit) > 0;
  to[3] = digit > 4;
}

void check_digits(const Tensor& labels, const char* who) {
  if (labels.rank() != 1 || labels.dtype() != i64)
    throw Error(fmt::format("{}: labels are {} {}, expected i64 of one axis", who, name_of(labels.dtype()),
                            labels.shape().text()));
  const std::int64_t* digits = labels.data<std::int64_t>();
  for (std::int64_t k = 0; k < labels.elements(); ++k)
    if (digits[k] < 0 || digits[k] > 9) throw Error(fmt::format("{}: label {} is {}, no digit", who, k, digits[k]));
}

}  // namespace

std::string directory_of(std::string_view given) {
  if (!given.empty()) return std::string(given);
  if (const std::string named = environment("TWOPASS_DATA"); !named.empty()) return named;
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) return cache + "/twopass";
  return environment("HOME") + "/.cache/twopass";
}

Split cifar10(std::string_view directory) {
  const std::string folder = directory_of(directory) + "/cifar-10-batches-bin";
  std::vector<std::string> train_files;
  for (int k = 1; k <= 5; ++k) train_files.push_back(fmt::format("{}/data_batch_{}.bin", folder, k));
  const std::string test_file = folder + "/test_batch.bin", names = folder + "/batches.meta.txt";
  for (const std::string& file : train_files) check_there(file, folder, "cifar10", directory);
  check_there(test_file, folder, "cifar10", directory);
  check_there(names, folder, "cifar10", directory);
  const std::vector<std::string> classes = read_cifar10_classes(names);
  const CifarBatch train = read_cifar10(train_files), test = read_cifar10({test_file});
  return {{train.inputs, train.labels, {}, {}, classes}, {test.inputs, test.labels, {}, {}, classes}};
}

Split mnist(std::string_view directory) {
  return {mnist_part(directory, "train", 1), mnist_part(directory, "t10k", 2)};
}

Tensor digit_flags(const Tensor& labels) {
  check_digits(labels, "digit_flags");
  Tensor flags = uninitialised({labels.elements(), 4}, f32);
  for (std::int64_t k = 0; k < labels.elements(); ++k)
    write_flags(labels.data<std::int64_t>()[k], writable<float>(flags) + 4 * k);
  return flags;
}

Tensor digit_facts(const Tensor& labels, std::uint64_t seed) {
  check_digits(labels, "digit_facts");
  const Tensor facts = Random(seed_of(seed, "facts")).normal({labels.elements(), 8}, f32, 0, 0.3);
  for (std::int64_t k = 0; k < labels.elements(); ++k) {
    const std::int64_t digit = labels.data<std::int64_t>()[k];
    float clean[8];
    write_flags(digit, clean);
    clean[4] = static_cast<float>(digit) / 9.0f;
    clean[5] = static_cast<float>(digit % 3) / 2.0f;
    clean[6] = static_cast<float>(loops(digit)) / 2.0f;
    clean[7] = static_cast<float>(digit % 4) / 3.0f;
    for (int fact = 0; fact < 8; ++fact) writable<float>(facts)[8 * k + fact] += clean[fact];
  }
  return facts;
}

}  // namespace twopass::data
