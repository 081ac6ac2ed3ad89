#include <twopass/core/npy.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <vector>

#include <fmt/core.h>

#include <twopass/core/error.h>
#include <twopass/core/files.h>

namespace twopass {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are written as they lie in memory");

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kLongestHeader = 10000;

struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::int64_t> sizes;
  std::size_t end = 0;  // where the elements begin
};

// The grammar is one flat dictionary with three keys, so nothing here recurses.
class HeaderParser {
 public:
  HeaderParser(std::string_view bytes, std::string_view name, std::size_t begin, std::size_t end)
      : bytes_(bytes.substr(0, end)), name_(name), at_(begin) {}

  Header parse() {
    Header header;
    bool seen[3] = {};
    expect('{');
    while (!accept('}')) {
      const std::size_t where = at_;
      const std::string key = quoted();
      const int index = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : -1;
      if (index < 0) refuse(where, fmt::format("unknown key '{}'", key));
      if (seen[index]) refuse(where, fmt::format("duplicate key '{}'", key));
      seen[index] = true;
      expect(':');
      if (index == 0) header.descr = descr();
      if (index == 1) header.fortran_order = truth();
      if (index == 2) header.sizes = tuple();
      if (accept('}')) break;
      expect(',');
    }
    skip();
    if (at_ != bytes_.size()) refuse(at_, "text after the header's dictionary");
    constexpr std::string_view kKeys[] = {"descr", "fortran_order", "shape"};
    for (int k = 0; k < 3; ++k)
      if (!seen[k]) refuse(at_, fmt::format("missing key '{}'", kKeys[k]));
    header.end = bytes_.size();
    return header;
  }

 private:
  [[noreturn]] void refuse(std::size_t offset, std::string_view reason) const {
    throw Error(fmt::format("{}: npy header at offset {}: {}", name_, offset, reason));
  }
  void skip() {
    while (at_ < bytes_.size() && (bytes_[at_] == ' ' || bytes_[at_] == '\n' || bytes_[at_] == '\t')) ++at_;
  }
  bool accept(char letter) {
    skip();
    if (at_ == bytes_.size() || bytes_[at_] != letter) return false;
    ++at_;
    return true;
  }
  void expect(char letter) {
    if (!accept(letter)) refuse(at_, fmt::format("expected '{}'", letter));
  }
  std::string quoted() {
    skip();
    if (at_ == bytes_.size() || (bytes_[at_] != '\'' && bytes_[at_] != '"')) refuse(at_, "expected a quoted name");
    const std::size_t end = bytes_.find(bytes_[at_], at_ + 1);
    if (end == std::string_view::npos) refuse(at_, "a quoted name does not end");
    std::string text(bytes_.substr(at_ + 1, end - at_ - 1));
    for (const char letter : text)
      if (letter < ' ' || letter > '~' || letter == '\\') refuse(at_, "a quoted name has an unusual character");
    at_ = end + 1;
    return text;
  }
  std::string descr() {
    skip();
    if (at_ < bytes_.size() && (bytes_[at_] == '[' || bytes_[at_] == '('))
      refuse(at_, "structured element types are not read");
    return quoted();
  }
  bool truth() {
    skip();
    for (const std::string_view word : {std::string_view("True"), std::string_view("False")})
      if (bytes_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return word == "True";
      }
    refuse(at_, "fortran_order is neither True nor False");
  }
  std::int64_t number() {
    skip();
    std::int64_t size = 0;
    const char* end = bytes_.data() + bytes_.size();
    const auto [stop, error] = std::from_chars(bytes_.data() + at_, end, size);
    if (error == std::errc::result_out_of_range) refuse(at_, "a size of the shape does not fit 63 bits");
    if (error != std::errc()) refuse(at_, "expected a size of the shape");
    if (size < 0) refuse(at_, fmt::format("a size of the shape is negative ({})", size));
    at_ = static_cast<std::size_t>(stop - bytes_.data());
    return size;
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> sizes;
    const std::size_t where = at_;
    expect('(');
    while (!accept(')')) {
      if (sizes.size() == kMaxRank) refuse(where, fmt::format("the shape has more than {} axes", kMaxRank));
      sizes.push_back(number());
      if (accept(',')) continue;
      if (sizes.size() == 1) refuse(at_, "a shape of one axis needs a comma");
      expect(')');
      break;
    }
    return sizes;
  }

  std::string_view bytes_;
  std::string_view name_;
  std::size_t at_;
};

Header parse_header(std::string_view bytes, std::string_view name) {
  if (bytes.starts_with("PK\x03\x04"))
    throw Error(fmt::format("{}: is a zip archive (npz), not an npy file: archives are never unpacked here", name));
  if (bytes.size() < kMagic.size() + 4 || bytes.substr(0, kMagic.size()) != kMagic)
    throw Error(fmt::format("{}: is no npy file: it does not begin with \\x93NUMPY and a version", name));
  const int version = static_cast<unsigned char>(bytes[6]), minor = static_cast<unsigned char>(bytes[7]);
  if (version < 1 || version > 3 || minor != 0)
    throw Error(
        fmt::format("{}: npy version {}.{} at offset 6 is not known (1.0, 2.0 and 3.0 are)", name, version, minor));
  const std::size_t width = version == 1 ? 2 : 4, begin = 8 + width;
  if (bytes.size() < begin) throw Error(fmt::format("{}: ends within the npy header, at {} bytes", name, bytes.size()));
  std::size_t length = 0;
  for (std::size_t k = 0; k < width; ++k) length |= std::size_t{static_cast<unsigned char>(bytes[8 + k])} << (8 * k);
  if (length > kLongestHeader)
    throw Error(fmt::format("{}: npy header length {} is above the limit of {}", name, length, kLongestHeader));
  if (length > bytes.size() - begin)
    throw Error(
        fmt::format("{}: npy header length {} goes beyond the end of the file ({} bytes)", name, length, bytes.size()));
  return HeaderParser(bytes, name, begin, begin + length).parse();
}

struct Stored {
  char kind;
  std::size_t size;
  bool swapped;
};

Stored stored_type(const std::string& descr, std::string_view name) {
  if (descr.find('O') != std::string::npos)
    throw Error(
        fmt::format("{}: element type '{}' is a pickle of objects, which could run code; not read", name, descr));
  if (descr == "|b1") return {'b', 1, false};
  if (descr.size() == 3 && (descr[0] == '<' || descr[0] == '>')) {
    const std::string_view type = std::string_view(descr).substr(1);
    if (type == "f4" || type == "f8" || type == "i4" || type == "i8")
      return {type[0], static_cast<std::size_t>(type[1] - '0'), descr[0] == '>'};
  }
  throw Error(fmt::format("{}: element type '{}' is not read (f4, f8, i4, i8 and b1 are)", name, descr));
}

template <typename T>
T element(const char* from, bool swapped) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, from, sizeof(T));
  if (swapped) std::reverse(bytes, bytes + sizeof(T));
  return std::bit_cast<T>(bytes);
}

// Element k of the tensor lies at this place of a file whose first axis varies fastest.
std::vector<std::size_t> fortran_places(const Shape& shape) {
  const int rank = shape.rank();
  const auto count = static_cast<std::size_t>(shape.elements());
  std::vector<std::size_t> places(count);
  std::vector<std::int64_t> index(static_cast<std::size_t>(rank));
  for (std::size_t k = 0; k < count; ++k) {
    std::size_t place = 0;
    for (int axis = rank - 1; axis >= 0; --axis)
      place = place * static_cast<std::size_t>(shape[axis]) +
              static_cast<std::size_t>(index[static_cast<std::size_t>(axis)]);
    places[k] = place;
    for (int axis = rank - 1; axis >= 0; --axis) {
      if (++index[static_cast<std::size_t>(axis)] < shape[axis]) break;
      index[static_cast<std::size_t>(axis)] = 0;
    }
  }
  return places;
}

template <typename From, typename To>
Tensor converted(std::string_view data, const Shape& shape, bool swapped, bool fortran) {
  Tensor made = uninitialised(shape, dtype_of<To>());
  To* to = writable<To>(made);
  const auto count = static_cast<std::size_t>(shape.elements());
  const std::vector<std::size_t> places = fortran ? fortran_places(shape) : std::vector<std::size_t>();
  for (std::size_t k = 0; k < count; ++k)
    to[k] = static_cast<To>(element<From>(data.data() + (fortran ? places[k] : k) * sizeof(From), swapped));
  return made;
}

}  // namespace

Tensor parse_npy(std::string_view bytes, std::string_view name) {
  const Header header = parse_header(bytes, name);
  const Stored stored = stored_type(header.descr, name);
  std::int64_t need = static_cast<std::int64_t>(stored.size);
  Shape shape;
  try {
    shape = Shape(header.sizes);
    need = checked_product(shape.elements(), need);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: the shape of the npy header: {}", name, error.what()));
  }
  const std::string_view data = bytes.substr(header.end);
  if (data.size() != static_cast<std::uint64_t>(need))
    throw Error(fmt::format("{}: has {} bytes after offset {}, but elements of type {} and shape {} have {}", name,
                            data.size(), header.end, header.descr, shape.text(), need));
  const bool swapped = stored.swapped, fortran = header.fortran_order && shape.rank() > 1;
  if (stored.kind == 'f' && stored.size == 4) return converted<float, float>(data, shape, swapped, fortran);
  if (stored.kind == 'f') return converted<double, double>(data, shape, swapped, fortran);
  if (stored.kind == 'i' && stored.size == 4)
    return converted<std::int32_t, std::int64_t>(data, shape, swapped, fortran);
  if (stored.kind == 'i') return converted<std::int64_t, std::int64_t>(data, shape, swapped, fortran);
  for (std::size_t k = 0; k < data.size(); ++k)
    if (static_cast<unsigned char>(data[k]) > 1)
      throw Error(fmt::format("{}: the truth value at offset {} is neither 0 nor 1", name, header.end + k));
  return converted<char, bool>(data, shape, false, fortran);
}

Tensor read_npy(std::string_view path) { return parse_npy(read_file(path), path); }

std::string npy_bytes(const Tensor& x) {
  std::string sizes;
  for (const std::int64_t size : x.shape()) sizes += fmt::format("{}, ", size);
  if (x.rank() > 1) sizes.resize(sizes.size() - 2);
  if (x.rank() == 1) sizes.pop_back();
  const char* descr = x.dtype() == f32 ? "<f4" : x.dtype() == f64 ? "<f8" : x.dtype() == i64 ? "<i8" : "|b1";
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, sizes);
  constexpr std::size_t kAlignment = 64, kBegin = 10;  // elements begin at a multiple of 64 bytes
  text.append(kAlignment - 1 - (kBegin + text.size()) % kAlignment, ' ');
  text += '\n';
  std::string bytes(kMagic);
  bytes += {'\1', '\0', static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  bytes += text;
  dispatch(x.dtype(), [&]<typename T>() {
    bytes.append(reinterpret_cast<const char*>(x.data<T>()), static_cast<std::size_t>(x.elements()) * sizeof(T));
  });
  return bytes;
}

void write_npy(std::string_view path, const Tensor& x) { write_file(path, npy_bytes(x)); }

}  // namespace twopass
