#include <doctest/doctest.h>

#include <sys/stat.h>

#include <cstdlib>
#include <string>

#include <twopass/core/cifar.h>
#include <twopass/core/csv.h>
#include <twopass/core/error.h>
#include <twopass/core/files.h>
#include <twopass/core/idx.h>
#include <twopass/core/npy.h>

#include "temporary_folder.h"

using namespace twopass;

namespace {

template <typename F>
std::string refusal(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was refused";
}

template <typename F>
void check_refused(F&& f, const std::string& words) {
  const std::string message = refusal(f);
  CAPTURE(message);
  CHECK(message.find(words) != std::string::npos);
}

std::string npy(const std::string& dictionary, const std::string& data, int version = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += {static_cast<char>(version), '\0', static_cast<char>(dictionary.size() & 0xff),
            static_cast<char>(dictionary.size() >> 8)};
  if (version > 1) bytes += {'\0', '\0'};
  return bytes + dictionary + data;
}

std::string header(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': " + descr + ", 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

std::string word(unsigned value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

std::string images(unsigned count, unsigned rows, unsigned columns, std::size_t bytes) {
  return word(0x803) + word(count) + word(rows) + word(columns) + std::string(bytes, '\xff');
}

template <typename F>
void check_prefixes(const std::string& whole, F&& parse) {
  CHECK_NOTHROW(parse(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK_THROWS_AS(parse(whole.substr(0, size)), Error);
  }
}

}  // namespace

TEST_CASE("I8: a directory, a pipe, a device and a missing file are refused") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo(folder.at("pipe").c_str(), 0600) == 0);
  check_refused([&] { read_file(folder.path); }, "is a directory, not a regular file");
  check_refused([&] { read_file(folder.at("pipe")); }, "is a pipe, not a regular file");
  check_refused([&] { read_file("/dev/zero"); }, "is a device or socket");
  check_refused([&] { read_file(folder.at("a")); }, "No such file");
  check_refused([&] { write_file(folder.path, "x"); }, "is a directory");
  check_refused([&] { write_file(folder.at("none/a"), "x"); },
                "/none/a: can't be written: no new file can be made in its folder \"" + folder.at("none/") +
                    "\": No such file or directory");
}

TEST_CASE("a file is written as a whole, read back and refused above a limit") {
  const TemporaryFolder folder;
  const std::string path = folder.at("a"), bytes("one\0two", 7);
  write_file(path, "before");
  write_file(path, bytes);
  CHECK(read_file(path) == bytes);
  check_refused([&] { read_file(path, 6); }, "has 7 bytes, more than the limit of 6");
}

TEST_CASE("an npy file is read back with equal bits") {
  const TemporaryFolder folder;
  for (const Tensor& x : {tensor({{1.5, -2.0, 3.0}, {4.0, 5.0, 6.0}}), tensor({1, 2, 3}), tensor(2.5, f64),
                          tensor({true, false}), uninitialised({0, 3}, f64)}) {
    write_npy(folder.at("a.npy"), x);
    const Tensor y = read_npy(folder.at("a.npy"));
    CHECK(y.dtype() == x.dtype());
    CHECK(y.shape() == x.shape());
    CHECK(y.values<double>() == x.values<double>());
  }
}

TEST_CASE("I9: an npy file of bad magic, version 9 or an overlong header is refused") {
  check_refused([&] { parse_npy("\x93NUMPX\1\0\0\0\0\0", "f"); }, "f: is no npy file");
  check_refused([&] { parse_npy(npy(header("'<f4'", "(1,)"), "abcd", 9), "f"); }, "version 9.0 at offset 6");
  check_refused([&] { parse_npy(npy(std::string(10001, ' '), ""), "f"); },
                "header length 10001 is above the limit of 10000");
  std::string cut = npy(header("'<f4'", "(1,)"), "");
  cut.resize(cut.size() - 9);
  check_refused([&] { parse_npy(cut, "f"); }, "goes beyond the end of the file");
}

TEST_CASE("I10: an npy header of wrong keys, deep nesting or code is refused") {
  check_refused([&] { parse_npy(npy("{'descr': '<f4', 'shape': (1,)}", "abcd"), "f"); }, "missing key 'fortran_order'");
  check_refused([&] { parse_npy(npy("{'descr': '<f4', 'descr': '<f4'}", ""), "f"); }, "duplicate key 'descr'");
  check_refused([&] { parse_npy(npy("{'extra': 1}", ""), "f"); }, "unknown key 'extra'");
  check_refused([&] { parse_npy(npy(header("'<f4'", std::string(9000, '(')), ""), "f"); },
                "expected a size of the shape");
  check_refused([&] { parse_npy(npy("__import__('os')", ""), "f"); }, "expected '{'");
}

TEST_CASE("I11: an npy pickle or structured type is refused and big-endian elements are swapped") {
  check_refused([&] { parse_npy(npy(header("'|O'", "(1,)"), "abcd"), "f"); }, "pickle");
  check_refused([&] { parse_npy(npy(header("[('a', '<f4')]", "(1,)"), "abcd"), "f"); }, "structured");
  check_refused([&] { parse_npy(npy(header("'<c8'", "(1,)"), "abcdefgh"), "f"); }, "'<c8' is not read");
  CHECK(parse_npy(npy(header("'>f4'", "(1,)"), std::string("\x3f\xc0\0\0", 4)), "f").item<double>() == 1.5);
  CHECK(parse_npy(npy(header("'>i4'", "()"), std::string("\xff\xff\xff\xfe", 4), 2), "f").item<double>() == -2);
}

TEST_CASE("I12: Fortran order is transposed, and wrong shapes and sizes are refused") {
  const std::string data("\1\0\1\1\0\0", 6);
  const Tensor x = parse_npy(npy(header("'|b1'", "(2, 3)", "True"), data), "f");
  CHECK(x.values<int>() == std::vector<int>{1, 1, 0, 0, 1, 0});
  check_refused([&] { parse_npy(npy(header("'<f8'", "(4294967296, 4294967296)"), ""), "f"); }, "2^63");
  check_refused([&] { parse_npy(npy(header("'<f8'", "(99999999999999999999,)"), ""), "f"); }, "does not fit 63 bits");
  check_refused([&] { parse_npy(npy(header("'<f8'", "(-1,)"), ""), "f"); }, "negative (-1)");
  check_refused([&] { parse_npy(npy(header("'<f4'", "(2,)"), "abcd"), "f"); }, "has 4 bytes after offset");
  check_refused([&] { parse_npy(npy(header("'<f4'", "(1,)"), "abcde"), "f"); }, "has 5 bytes after offset");
}

TEST_CASE("I13: an npz archive is refused before anything of it is unpacked") {
  check_refused([&] { parse_npy(std::string("PK\x03\x04") + std::string(100, '\0'), "f.npz"); },
                "f.npz: is a zip archive (npz)");
}

TEST_CASE("I14: an IDX file of another magic or still packed is refused") {
  check_refused([&] { parse_idx_labels(images(1, 1, 1, 1), "f"); }, "magic at offset 0 is 0x0803, expected 0x0801");
  check_refused([&] { parse_idx_images("\x1f\x8b\x08 packed", "f"); }, "packed by gzip");
}

TEST_CASE("I15: IDX sizes that overflow or don't agree with the file, and labels above 9, are refused") {
  check_refused([&] { parse_idx_images(images(0xffffffff, 0xffffffff, 0xffffffff, 5), "f"); },
                "has 5 bytes after offset 16");
  check_refused([&] { parse_idx_images(images(2, 2, 2, 7), "f"); }, "2 images of 2 by 2");
  check_refused([&] { parse_idx_images(images(0, 2, 2, 0), "f"); }, "nothing in it");
  check_refused([&] { parse_idx_labels(word(0x801) + word(2) + "\1\12", "f"); }, "label 1 at offset 9 is 10");
  CHECK(parse_idx_images(images(2, 2, 2, 8), "f").at<float>(7) == 1.0f);
}

TEST_CASE("I16: a CIFAR file that is empty, of another size or with a label above 9 is refused") {
  check_refused([&] { parse_cifar10("", "f"); }, "f: is empty");
  check_refused([&] { parse_cifar10(std::string(3072, '\0'), "f"); }, "no multiple of 3073");
  check_refused([&] { parse_cifar10(std::string(3073, '\0') + std::string(3073, '\12'), "f"); },
                "label 1 at offset 3073 is 10");
}

TEST_CASE("a CSV table is read with its names, and what is no number is refused with its place") {
  const Csv table = parse_csv("a,\"b, c\"\n1.5, -2\r\n+3e1,4\n", "f");
  CHECK(table.columns == std::vector<std::string>{"a", "b, c"});
  CHECK(table.values.values<double>() == std::vector<double>{1.5, -2, 30, 4});
  check_refused([&] { parse_csv("a,b\n1,x\n", "f"); }, "f: line 2, column 2: \"x\" is not a number");
  check_refused([&] { parse_csv("a,b\n1\n", "f"); }, "line 2: has 1 fields, but the lines before have 2");
  check_refused([&] { parse_csv("a\n1e99\n", "f"); }, "out of range");
  check_refused([&] { parse_csv("a\n", "f"); }, "has no rows");
}

TEST_CASE("I24: every prefix of a valid file is refused") {
  check_prefixes(npy_bytes(tensor({{1.0, 2.0}, {3.0, 4.0}})), [](const std::string& s) { return parse_npy(s, "f"); });
  check_prefixes(images(2, 3, 3, 18), [](const std::string& s) { return parse_idx_images(s, "f"); });
  check_prefixes(word(0x801) + word(3) + "\1\2\3", [](const std::string& s) { return parse_idx_labels(s, "f"); });
  check_prefixes(std::string(3073, '\1'), [](const std::string& s) { return parse_cifar10(s, "f"); });
  check_prefixes("a,b\n1,2\n", [](const std::string& s) { return parse_csv(s, "f"); });
}
