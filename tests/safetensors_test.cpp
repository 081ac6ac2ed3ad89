#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/files.h>
#include <twopass/core/safetensors.h>
#include <twopass/ops/creation.h>

#include "temporary_folder.h"

using namespace twopass;

namespace {

struct Scratch {
  TemporaryFolder folder;
  std::string path = folder.at("file");
};

std::string file_of(const std::string& header, std::size_t data_bytes) {
  std::string bytes(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\0');
}

// What the reader says of these bytes; empty where it takes them.
std::string refusal(const std::string& bytes) {
  const Scratch file;
  write_file(file.path, bytes);
  try {
    read_safetensors(file.path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string refused_header(const std::string& header, std::size_t data_bytes = 4) {
  return refusal(file_of(header, data_bytes));
}

std::string with_length(std::uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + "{}";
}

}  // namespace

TEST_CASE("a minimal file by the format's description is read") {
  CHECK(refused_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})").empty());
  CHECK(refused_header("{}", 0).empty());
}

TEST_CASE("I1: a file below eight bytes, and header lengths of 0, beyond the file and near 2^64 are refused") {
  CHECK_FALSE(refusal("1234567").empty());
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{1} << 27, ~std::uint64_t{0}})
    CHECK_FALSE(refusal(with_length(length)).empty());
}

TEST_CASE("I2: a header that is no JSON object, has bad UTF-8, goes on after its end or nests deep is refused") {
  CHECK_FALSE(refused_header("[]", 0).empty());
  CHECK_FALSE(refused_header("{} x", 0).empty());
  CHECK_FALSE(refused_header("{\"\xff\":1}", 0).empty());
  CHECK_FALSE(refused_header("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}", 0).empty());
}

TEST_CASE("I3: double names, metadata that are no texts, and names that are empty or hold NUL are refused") {
  const std::string entry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  CHECK_FALSE(refused_header("{\"a\":" + entry + ",\"a\":" + entry + "}").empty());
  CHECK_FALSE(refused_header(R"({"__metadata__":{"a":1}})", 0).empty());
  CHECK_FALSE(refused_header("{\"\":" + entry + "}").empty());
  CHECK_FALSE(refused_header("{\"a\\u0000b\":" + entry + "}").empty());
}

TEST_CASE("I4: unknown dtypes and sizes that are negative, broken, too large or overflow are refused") {
  CHECK_FALSE(refused_header(R"({"a":{"dtype":"F8","shape":[1],"data_offsets":[0,4]}})").empty());
  for (const char* shape : {"-1", "1.5", "1e400", "9223372036854775808", "65536,65536,65536,65536"})
    CHECK_FALSE(refused_header(R"({"a":{"dtype":"F32","shape":[)" + std::string(shape) + R"(],"data_offsets":[0,4]}})")
                    .empty());
}

TEST_CASE("I5: offsets that run backwards, end outside, overlap, leave a hole or bytes over are refused") {
  const auto one = [](const std::string& offsets) {
    return refused_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[)" + offsets + "]}}", 8);
  };
  CHECK_FALSE(one("4,0").empty());
  CHECK_FALSE(one("8,12").empty());
  CHECK_FALSE(one("0,18446744073709551615").empty());
  CHECK_FALSE(one("4,8").empty());  // a hole before it
  CHECK_FALSE(one("0,4").empty());  // bytes left over
  const auto two = [](const std::string& first, const std::string& second) {
    return refused_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[)" + first +
                              R"(]},"b":{"dtype":"F32","shape":[1],"data_offsets":[)" + second + "]}}",
                          8);
  };
  CHECK(two("0,4", "4,8").empty());
  CHECK_FALSE(two("0,4", "0,4").empty());
  CHECK_FALSE(two("0,4", "2,6").empty());
}

TEST_CASE("I1, I5: a file that is cut short says so, where its header and its tensors end, and what it has") {
  const Scratch file;
  write_safetensors(file.path, {{{"a", ones({4})}}, {}});
  const std::string whole = read_file(file.path);
  const auto cut = [&](std::size_t bytes) {
    write_file(file.path, whole.substr(0, bytes));
    try {
      read_safetensors(file.path);
    } catch (const Error& error) {
      return std::string(error.what()).substr(file.path.size());
    }
    return std::string();
  };
  const std::size_t header = whole.size() - 16;
  CHECK(cut(whole.size() - 1) ==
        fmt::format(": is cut short: its tensors end at byte {}, but it has {}", whole.size(), whole.size() - 1));
  CHECK(cut(header) == fmt::format(": is cut short: its tensors end at byte {}, but it has {}", whole.size(), header));
  CHECK(cut(20) == fmt::format(": is cut short: its header alone ends at byte {}, but it has 20", header));
  CHECK(cut(1) == ": is cut short, or no safetensors file: it has 1 byte where the first 8 tell of a header");
}

TEST_CASE("I6: empty tensors, scalars, NaN with a payload and unaligned elements keep their bits") {
  const Scratch file;
  std::uint32_t payload = 0x7fc12345;
  float nan = 0;
  std::memcpy(&nan, &payload, 4);
  write_safetensors(file.path, {{{"odd", tensor({true, false, true})},
                                 {"empty", zeros({0, 3})},
                                 {"scalar", tensor(std::numeric_limits<double>::denorm_min(), f64)},
                                 {"nan", from_values(std::vector<float>{nan, -0.0f}, {2}, f32)},
                                 {"long", tensor({std::numeric_limits<std::int64_t>::min()})}},
                                {{"who", "a test"}}});
  const Safetensors read = read_safetensors(file.path);
  REQUIRE(read.tensors.size() == 5);
  CHECK(read.metadata.at(0).second == "a test");
  for (const auto& [name, x] : read.tensors) {
    if (name == "odd") CHECK(x.values<bool>() == std::vector<bool>{true, false, true});
    if (name == "empty") CHECK(x.shape() == Shape{0, 3});
    if (name == "scalar") CHECK(x.item<double>() == std::numeric_limits<double>::denorm_min());
    if (name == "long") CHECK(x.at<std::int64_t>(0) == std::numeric_limits<std::int64_t>::min());
    if (name == "nan") {
      std::uint32_t bits = 0;
      std::memcpy(&bits, x.data<float>(), 4);
      CHECK(bits == payload);
      CHECK(std::signbit(x.at<float>(1)));
    }
  }
}
