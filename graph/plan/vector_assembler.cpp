#include <twopass/graph/plan/vector_assembler.h>

namespace twopass::planning {

using Kind = Lanes::Kind;
using Xbyak::Address;
using Xbyak::Xmm;

VectorAssembler::VectorAssembler(Processor processor, DType dtype)
    : CodeGenerator(4096, Xbyak::AutoGrow),
      wide_(processor == Processor::avx512),
      single_(dtype == f32),
      element_(single_ ? 4 : 8),
      vector_(wide_ ? 64 : 32) {}

void VectorAssembler::load_scalar(const Xmm& to, const Address& from) { single_ ? vmovss(to, from) : vmovsd(to, from); }
void VectorAssembler::store_scalar(const Address& to, const Xmm& from) {
  single_ ? vmovss(to, from) : vmovsd(to, from);
}
void VectorAssembler::broadcast(int to, const Address& from) {
  if (single_)
    vbroadcastss(vector(to), from);
  else
    vbroadcastsd(wide_ ? Xbyak::Zmm(to) : Xbyak::Ymm(to), from);
}

void VectorAssembler::load(const Xmm& to, const Address& from, bool part) {
  if (!part)
    single_ ? vmovups(to, from) : vmovupd(to, from);
  else if (wide_)
    single_ ? vmovups(to | k2 | T_z, from) : vmovupd(to | k2 | T_z, from);
  else
    single_ ? vmaskmovps(to, ymm15, from) : vmaskmovpd(to, ymm15, from);
}

void VectorAssembler::store(const Address& to, const Xmm& from, bool part) {
  if (!part)
    single_ ? vmovups(to, from) : vmovupd(to, from);
  else if (wide_)
    single_ ? vmovups(to | k2, from) : vmovupd(to | k2, from);
  else
    single_ ? vmaskmovps(to, ymm15, from) : vmaskmovpd(to, ymm15, from);
}

void VectorAssembler::store_past_cache(const Address& to, const Xmm& from) {
  single_ ? vmovntps(to, from) : vmovntpd(to, from);
}

void VectorAssembler::begin_part() {
  if (wide_) {
    shr(rdx, single_ ? 2 : 3);
    mov(eax, 0xFFFF);
    bzhi(eax, eax, edx);
    kmovw(k2, eax);
  } else {
    lea(rax, ptr[rip + masks_]);
    sub(rax, rdx);
    vmovups(ymm15, ptr[rax + 32]);
  }
}

void VectorAssembler::write_tables() {
  if (wide_) return;
  align(32);
  L(masks_);
  for (int k = 0; k < 16; ++k) dd(k < 8 ? 0xFFFFFFFF : 0);
}

void VectorAssembler::add_to(const Xmm& to, const Xmm& a, const Xbyak::Operand& b) {
  single_ ? vaddps(to, a, b) : vaddpd(to, a, b);
}

void VectorAssembler::zero(const Xmm& to) {
  const Xmm low(to.getIdx());
  wide_ ? vpxord(low, low, low) : vpxor(low, low, low);
}

void VectorAssembler::sign_bits(const Xmm& to) {
  if (wide_) {
    vpternlogd(to, to, to, 0xFF);
    single_ ? vpslld(to, to, 31) : vpsllq(to, to, 63);
  } else {
    vpcmpeqd(to, to, to);
    single_ ? vpslld(to, to, 31) : vpsllq(to, to, 63);
  }
}

// to = value where `tested` stands to 0 as `predicate` says, else 0; value comes from `make`.
template <typename Make>
void VectorAssembler::where(const Xmm& to, const Xmm& tested, int predicate, const Xmm& spare, const Make& make) {
  zero(spare);
  const auto imm = static_cast<std::uint8_t>(predicate);
  if (wide_) {
    single_ ? vcmpps(k1, tested, spare, imm) : vcmppd(k1, tested, spare, imm);
    make(to | k1 | T_z);
  } else {
    single_ ? vcmpps(spare, tested, spare, imm) : vcmppd(spare, tested, spare, imm);
    make(to);
    single_ ? vandps(to, to, spare) : vandpd(to, to, spare);
  }
}

void VectorAssembler::compute(Kind kind, const Xmm& to, const Xmm& a, const Xmm& b, const Xmm& spare) {
  constexpr int kNotEqual = 4, kNotLessEqual = 0x16, kGreater = 0x1E;  // quiet; the first two with NaN
  const auto multiply = [&](const Xmm& masked) { single_ ? vmulps(masked, a, b) : vmulpd(masked, a, b); };
  const auto copy = [&](const Xmm& from) {
    return [this, &from](const Xmm& masked) { single_ ? vmovaps(masked, from) : vmovapd(masked, from); };
  };
  switch (kind) {
    case Kind::add:
      add_to(to, a, b);
      break;
    case Kind::subtract:
      single_ ? vsubps(to, a, b) : vsubpd(to, a, b);
      break;
    case Kind::multiply:
      multiply(to);
      break;
    case Kind::divide:
      single_ ? vdivps(to, a, b) : vdivpd(to, a, b);
      break;
    case Kind::square_root:
      single_ ? vsqrtps(to, a) : vsqrtpd(to, a);
      break;
    case Kind::negate:
      sign_bits(spare);
      single_ ? vxorps(to, a, spare) : vxorpd(to, a, spare);
      break;
    case Kind::strong_multiply:
      where(to, a, kNotEqual, spare, multiply);
      break;
    case Kind::gate:
      where(to, b, kGreater, spare, copy(a));
      break;
    case Kind::relu:
      where(to, a, kNotLessEqual, spare, copy(a));
      break;
    case Kind::input:
    case Kind::constant:
    case Kind::sum:
      break;
  }
}

void VectorAssembler::join(std::span<const int> vectors, int spare) {
  for (std::size_t width = vectors.size() / 2; width > 0; width /= 2)
    for (std::size_t k = 0; k < width; ++k) add_to(vector(vectors[k]), vector(vectors[k]), vector(vectors[k + width]));
  add_lanes(vectors[0], spare);
}

void VectorAssembler::join_leaves(std::uint32_t first, std::int64_t elements) {
  if (elements <= kLeaf) return;
  const std::int64_t left = (elements / 2 + kLeaf - 1) / kLeaf * kLeaf;
  const std::uint32_t second = first + static_cast<std::uint32_t>(left / kLeaf * 8);
  join_leaves(first, left);
  join_leaves(second, elements - left);
  load_scalar(xmm0, ptr[rsp + first]);
  single_ ? vaddss(xmm0, xmm0, ptr[rsp + second]) : vaddsd(xmm0, xmm0, ptr[rsp + second]);
  store_scalar(ptr[rsp + first], xmm0);
}

// The lanes of a vector, halves at a time, into its first.
void VectorAssembler::add_lanes(int vector, int spare) {
  if (wide_) {
    vextractf64x4(half(spare), Xbyak::Zmm(vector), 1);
    add_to(half(vector), half(vector), half(spare));
  }
  if (wide_)
    vextractf32x4(Xmm(spare), Xbyak::Ymm(vector), 1);
  else
    vextractf128(Xmm(spare), Xbyak::Ymm(vector), 1);
  add_to(Xmm(vector), Xmm(vector), Xmm(spare));
  vpermilpd(Xmm(spare), Xmm(vector), 1);
  add_to(Xmm(vector), Xmm(vector), Xmm(spare));
  if (single_) {
    vpermilps(Xmm(spare), Xmm(vector), 1);
    add_to(Xmm(vector), Xmm(vector), Xmm(spare));
  }
}

}  // namespace twopass::planning
