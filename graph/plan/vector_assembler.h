// Vectors of elements in machine code, the same for f32 and f64, AVX2 and AVX-512. For the files of this folder that
// are built where Xbyak is.
#pragma once
#include <xbyak/xbyak.h>

#include <cstdint>
#include <span>

#include <twopass/core/dtype.h>
#include <twopass/graph/plan/machine_code.h>

namespace twopass::planning {

/// Elements whose sum is one leaf of a tree, as ops/reduction_kernels.h adds.
inline constexpr std::int64_t kLeaf = 512;

class VectorAssembler : public Xbyak::CodeGenerator {
 public:
  VectorAssembler(Processor processor, DType dtype);

 protected:
  using Xmm = Xbyak::Xmm;
  using Address = Xbyak::Address;

  /// Register k as a whole vector, and its lower half.
  Xmm vector(int k) const { return Xmm(wide_ ? Xbyak::Operand::ZMM : Xbyak::Operand::YMM, k); }
  static Xmm half(int k) { return Xmm(Xbyak::Operand::YMM, k); }

  void load_scalar(const Xmm& to, const Address& from);
  void store_scalar(const Address& to, const Xmm& from);
  void broadcast(int to, const Address& from);
  /// A whole vector, or, with `part`, the lanes that `begin_part` has chosen.
  void load(const Xmm& to, const Address& from, bool part);
  void store(const Address& to, const Xmm& from, bool part);
  /// A whole vector to an address that is a multiple of its size; sfence() before others read it.
  void store_past_cache(const Address& to, const Xmm& from);
  /// Chooses the first lanes, of as many bytes as rdx has; uses rax and the last vector of AVX2.
  void begin_part();
  /// What begin_part reads; behind the code.
  void write_tables();

  // Arithmetic on registers of any width.
  void add_to(const Xmm& to, const Xmm& a, const Xbyak::Operand& b);
  void sign_bits(const Xmm& to);
  /// to = a and b as `kind` says; `spare` is written, too, and none of the four is another.
  void compute(Lanes::Kind kind, const Xmm& to, const Xmm& a, const Xmm& b, const Xmm& spare);
  /// Adds all lanes of a power of two of vectors, halves at a time, into the first lane of the first; writes `spare`.
  void join(std::span<const int> vectors, int spare);
  /// Adds the sums of leaves of a row of so many elements, 8 bytes apart from `first` bytes above the stack pointer on,
  /// into the first one, by the tree of reduce_run.
  void join_leaves(std::uint32_t first, std::int64_t elements);

  const bool wide_, single_;
  const std::uint32_t element_, vector_;  // bytes

 private:
  void zero(const Xmm& to);
  void add_lanes(int vector, int spare);
  template <typename Make>
  void where(const Xmm& to, const Xmm& tested, int predicate, const Xmm& spare, const Make& make);

  Xbyak::Label masks_;
};

}  // namespace twopass::planning
