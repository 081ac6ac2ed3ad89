#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include <twopass/core/datasets.h>
#include <twopass/core/error.h>
#include <twopass/core/files.h>

#include "temporary_folder.h"

using namespace twopass;

namespace {

// The folder of real data; empty, with a message, where there is none.
std::string real_data(const std::string& file) {
  const char* folder = std::getenv("TWOPASS_DATA");
  if (folder && is_file(std::string(folder) + "/" + file)) return folder;
  MESSAGE("SKIPPED: there is no " << file << " in $TWOPASS_DATA");
  return "";
}

void check_inputs(const Tensor& inputs) {
  float low = 1, high = 0;
  const float* at = inputs.data<float>();
  for (std::int64_t k = 0; k < inputs.elements(); ++k)
    low = at[k] < low ? at[k] : low, high = at[k] > high ? at[k] : high;
  CHECK(low >= 0.0f);
  CHECK(high <= 1.0f);
  CHECK(high > 0.5f);
}

}  // namespace

TEST_CASE("glyphs are balanced, in 0..1 and the same for the same seed") {
  const data::Set set = data::glyphs({.samples = 200, .seed = 3});
  CHECK(set.inputs.shape() == Shape{200, 784});
  CHECK(set.flags.shape() == Shape{200, 4});
  CHECK(set.facts.shape() == Shape{200, 8});
  check_inputs(set.inputs);
  std::vector<int> counts(10);
  for (const auto label : set.labels.values<std::size_t>()) ++counts.at(label);
  CHECK(counts == std::vector<int>(10, 20));
  const data::Set again = data::glyphs({.samples = 200, .seed = 3}), other = data::glyphs({.samples = 200, .seed = 4});
  CHECK(set.inputs.values<float>() == again.inputs.values<float>());
  CHECK(set.facts.values<float>() == again.facts.values<float>());
  CHECK(set.inputs.values<float>() != other.inputs.values<float>());
}

TEST_CASE("the flags of a digit say whether it is even, prime, looped and above 4") {
  CHECK(data::digit_flags(tensor({8, 7})).values<int>() == std::vector<int>{1, 0, 1, 1, 0, 1, 0, 1});
  CHECK_THROWS_WITH_AS(data::digit_flags(tensor({3, 10})), "digit_flags: label 1 is 10, no digit", Error);
}

TEST_CASE("no or too many glyphs are refused") {
  CHECK_THROWS_WITH_AS(data::glyphs({.samples = 0}), "glyphs: samples is 0, expected 1 to 10000000", Error);
}

TEST_CASE("a missing data set names its folder and how to fetch it") {
  for (const bool cifar : {false, true}) {
    std::string message;
    try {
      if (cifar)
        data::cifar10("/nowhere");
      else
        data::mnist("/nowhere");
    } catch (const Error& error) {
      message = error.what();
    }
    CHECK(message.find(cifar ? "/nowhere/cifar-10-batches-bin" : "/nowhere/mnist") != std::string::npos);
    CHECK(message.find(cifar ? "tools/fetch-data cifar10 /nowhere downloads it" : "tools/fetch-data mnist /nowhere") !=
          std::string::npos);
    CHECK(message.find("TWOPASS_DATA") == std::string::npos);  // it says nothing where a folder is given
  }
}

TEST_CASE("I15: MNIST files with different numbers of images and labels, or images of another size, are refused") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.at("mnist"));
  const auto word = [](int value) { return std::string(3, '\0') + static_cast<char>(value); };
  const auto write = [&](int images, int side, int labels) {
    write_file(folder.at("mnist/train-images-idx3-ubyte"),
               std::string("\0\0\x08\x03", 4) + word(images) + word(side) + word(side) +
                   std::string(static_cast<std::size_t>(images * side * side), '\1'));
    write_file(folder.at("mnist/train-labels-idx1-ubyte"),
               std::string("\0\0\x08\x01", 4) + word(labels) + std::string(static_cast<std::size_t>(labels), '\2'));
  };
  write(3, 28, 2);
  CHECK_THROWS_WITH_AS(data::mnist(folder.path), doctest::Contains("has 3 images"), Error);
  write(2, 27, 2);
  CHECK_THROWS_WITH_AS(data::mnist(folder.path), doctest::Contains("images have 729 pixels"), Error);
}

TEST_CASE("MNIST has 60,000 and 10,000 images of 784 pixels") {
  const std::string folder = real_data("mnist/train-images-idx3-ubyte");
  if (folder.empty()) return;
  const auto [train, test] = data::mnist(folder);
  CHECK(train.inputs.shape() == Shape{60000, 784});
  CHECK(test.inputs.shape() == Shape{10000, 784});
  CHECK(train.labels.at<int>(0) == 5);
  CHECK(test.labels.at<int>(0) == 7);
  CHECK(test.facts.shape() == Shape{10000, 8});
  check_inputs(train.inputs);
}

TEST_CASE("CIFAR-10 has 50,000 and 10,000 images of 3072 values") {
  const std::string folder = real_data("cifar-10-batches-bin/test_batch.bin");
  if (folder.empty()) return;
  const auto [train, test] = data::cifar10(folder);
  CHECK(train.inputs.shape() == Shape{50000, 3072});
  CHECK(test.labels.shape() == Shape{10000});
  CHECK(train.classes[0] == "airplane");
  CHECK_FALSE(train.flags.defined());
  check_inputs(test.inputs);
}
