#include <twopass/core/shape.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <new>

#include <twopass/core/error.h>
#include <twopass/core/memory.h>

namespace twopass {
namespace {

std::size_t body_bytes(std::size_t rank) { return 2 * sizeof(std::int64_t) + std::max<std::size_t>(rank, 1) * 8; }

}  // namespace

std::int64_t checked_product(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) throw Error(fmt::format("{} times {} elements are more than 2^63", a, b));
  return product;
}

Shape::Shape(const std::int64_t* sizes, std::size_t rank) {
  if (rank == 0) return;
  if (rank > kMaxRank) throw Error(fmt::format("a shape of {} axes is above the maximum of {}", rank, kMaxRank));
  std::int64_t elements = 1;
  bool open = false;
  bool zero = false;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    if (sizes[axis] < kOpen) throw Error(fmt::format("axis {} of a shape has the negative size {}", axis, sizes[axis]));
    open = open || sizes[axis] == kOpen;
    zero = zero || sizes[axis] == 0;
    if (sizes[axis] > 0) elements = checked_product(elements, sizes[axis]);
  }
  // Their bytes are counted in 63 bits, too.
  if (!open && !zero && elements >= std::int64_t{1} << 60)
    throw Error(fmt::format("{} elements are more than memory has addresses for", elements));
  body_ = static_cast<Body*>(memory::allocate(body_bytes(rank)));
  new (&body_->references) SharedCount<std::int32_t>(1);
  body_->rank = static_cast<std::int32_t>(rank);
  body_->elements = open ? kOpen : zero ? 0 : elements;
  std::copy_n(sizes, rank, body_->sizes);
}

void Shape::release(Body* body) noexcept { memory::release(body, body_bytes(static_cast<std::size_t>(body->rank))); }

std::int64_t Shape::operator[](int which) const { return body_ ? body_->sizes[axis(which)] : (axis(which), 0); }

int Shape::axis(std::int64_t axis) const {
  const std::int64_t counted = axis < 0 ? axis + rank() : axis;
  if (counted < 0 || counted >= rank()) throw Error(fmt::format("axis {} is out of range for rank {}", axis, rank()));
  return static_cast<int>(counted);
}

void Shape::refuse_open() const {
  throw Error(fmt::format("the size of {} is open: it is known only when data come", text()));
}

bool Shape::equals(const Shape& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

Shape Shape::with(int which, std::int64_t size) const {
  std::vector<std::int64_t> changed = sizes();
  changed[static_cast<std::size_t>(axis(which))] = size;
  return Shape(changed);
}

Shape Shape::without(int which) const {
  std::vector<std::int64_t> changed = sizes();
  changed.erase(changed.begin() + axis(which));
  return Shape(changed);
}

Shape Shape::inserted(int which, std::int64_t size) const {
  const std::int64_t counted = which < 0 ? which + rank() + 1 : which;
  if (counted < 0 || counted > rank())
    throw Error(fmt::format("axis {} is out of range for rank {}", which, rank() + 1));
  std::vector<std::int64_t> changed = sizes();
  changed.insert(changed.begin() + counted, size);
  return Shape(changed);
}

void Shape::refuse_size() { throw Error("a size is above 2^63 - 1"); }

std::string Shape::text() const {
  std::string text = "(";
  for (int axis = 0; axis < rank(); ++axis) {
    const std::int64_t size = begin()[axis];
    text += (axis ? ", " : "") + (size == kOpen ? std::string("None") : std::to_string(size));
  }
  return text + (rank() == 1 ? ",)" : ")");
}

std::vector<std::int64_t> Shape::index_of(std::int64_t place) const {
  std::vector<std::int64_t> index(static_cast<std::size_t>(rank()));
  for (int axis = rank(); axis-- > 0; place /= begin()[axis])
    index[static_cast<std::size_t>(axis)] = place % begin()[axis];
  return index;
}

std::string Shape::index_text(std::int64_t place) const {
  return rank() == 1 ? std::to_string(place) : Shape(index_of(place)).text();
}

Shape broadcast(const Shape& a, const Shape& b) {
  if (a == b) return a;
  if (a.empty()) return b;
  if (b.empty()) return a;
  const int rank = std::max(a.rank(), b.rank());
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(rank));
  for (int axis = 1; axis <= rank; ++axis) {
    const std::int64_t left = axis <= a.rank() ? a[-axis] : 1;
    const std::int64_t right = axis <= b.rank() ? b[-axis] : 1;
    std::int64_t& size = sizes[static_cast<std::size_t>(rank - axis)];
    if (left == right || right == 1)
      size = left;
    else if (left == 1)
      size = right;
    else if (left == kOpen)
      size = right;
    else if (right == kOpen)
      size = left;
    else
      throw Error(fmt::format("shapes {} and {} do not broadcast", a.text(), b.text()));
  }
  return Shape(sizes);
}

}  // namespace twopass
