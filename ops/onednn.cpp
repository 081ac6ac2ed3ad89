#include <twopass/ops/onednn.h>

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstring>

#include <twopass/core/error.h>
#include <twopass/core/memory.h>
#include <twopass/ops/onednn_primitive.h>

namespace twopass::onednn {
namespace {

// The OpenMP that oneDNN brought along, whichever it is.
struct OpenMP {
  int (*most)() = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "omp_get_max_threads"));
  void (*set)(int) = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
};
const OpenMP& openmp() {
  static const OpenMP found;
  return found;
}

const char* instruction_set() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::avx512_core_amx:
      return "AMX";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "AVX-512 with bf16";
    case dnnl::cpu_isa::avx512_core:
    case dnnl::cpu_isa::avx512_core_vnni:
      return "AVX-512";
    case dnnl::cpu_isa::avx2:
    case dnnl::cpu_isa::avx2_vnni:
      return "AVX2";
    default:
      return "no AVX2";
  }
}

// Inside a OneThread.
const Primitive& matmul_of(const Product& product, dnnl::memory::data_type type) {
  const bool ta = product.transpose_a, tb = product.transpose_b;
  const std::int64_t m = product.m, n = product.n, k = product.k;
  const Key<7> key{static_cast<std::int64_t>(type) * 4 + 2 * ta + tb, m, n, k, product.lda, product.ldb, product.ldc};
  return cached<Primitive>(key, [&] {
    using Steps = dnnl::memory::dims;
    const dnnl::memory::desc left({m, k}, type, ta ? Steps{1, product.lda} : Steps{product.lda, 1}),
        right({k, n}, type, tb ? Steps{1, product.ldb} : Steps{product.ldb, 1}),
        to({m, n}, dnnl::memory::data_type::f32, Steps{product.ldc, 1});
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(left, right, to), attributes(), engine());
    return Primitive(dnnl::matmul(description), description,
                     {{DNNL_ARG_SRC, left}, {DNNL_ARG_WEIGHTS, right}, {DNNL_ARG_DST, to}});
  });
}

template <typename T>
bool multiply_as(const Product& product, dnnl::memory::data_type type, const T* a, const T* b, float* c) {
  if (!usable()) return false;
  const OneThread one;
  const Primitive& matmul = matmul_of(product, type);
  if (!matmul) return false;
  const void* const places[] = {a, b, c};
  matmul.run(places);
  return true;
}

}  // namespace

dnnl::engine& engine() {
  static auto* const only = new dnnl::engine(dnnl::engine::kind::cpu, 0);  // primitives of other threads outlive main
  return *only;
}

bool usable() {
  static const bool answer = [] {
    const unsigned runtime = dnnl_version()->cpu_runtime;
    return runtime == DNNL_RUNTIME_SEQ || (runtime == DNNL_RUNTIME_OMP && openmp().most && openmp().set);
  }();
  return answer;
}

OneThread::OneThread() : before_(openmp().most ? openmp().most() : 1) {
  if (before_ != 1) openmp().set(1);
}
OneThread::~OneThread() {
  if (before_ != 1) openmp().set(before_);
}

Primitive::Primitive(dnnl::primitive made, const dnnl::memory::desc& scratchpad, const char* implementation,
                     const std::vector<Operand>& operands)
    : scratch_bytes_(scratchpad.get_size()) {
  if (std::strstr(implementation, "ref")) return;
  primitive_ = std::move(made);
  for (const auto& [place, layout] : operands) memories_.emplace_back(layout, engine(), nullptr);
  if (scratch_bytes_ > 0) memories_.emplace_back(scratchpad, engine(), nullptr);
  for (std::size_t k = 0; k < memories_.size(); ++k)
    arguments_.push_back({k < operands.size() ? operands[k].first : DNNL_ARG_SCRATCHPAD, memories_[k].get()});
}

void Primitive::run(std::span<const void* const> places) const {
  thread_local const dnnl::stream stream(engine());
  const Buffer scratch(scratch_bytes_);
  dnnl_status_t status = dnnl_success;
  for (std::size_t k = 0; k < memories_.size() && status == dnnl_success; ++k)
    status = dnnl_memory_set_data_handle(memories_[k].get(),
                                         k < places.size() ? const_cast<void*>(places[k]) : scratch.data());
  if (status == dnnl_success)
    status =
        dnnl_primitive_execute(primitive_.get(), stream.get(), static_cast<int>(arguments_.size()), arguments_.data());
  if (status != dnnl_success) throw Error(fmt::format("oneDNN gave up with status {}", static_cast<int>(status)));
}

dnnl::primitive_attr attributes() {
  dnnl::primitive_attr made;
  made.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return made;
}

std::string description() {
  if (!usable()) return {};
  const dnnl_version_t& version = *dnnl_version();
  return fmt::format("oneDNN {}.{}.{} ({})", version.major, version.minor, version.patch, instruction_set());
}

bool has_bf16() {
  if (!usable()) return false;
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
}

bool multiply(const Product& product, const float* a, const float* b, float* c) {
  return multiply_as(product, dnnl::memory::data_type::f32, a, b, c);
}
bool multiply(const Product& product, const std::uint16_t* a, const std::uint16_t* b, float* c) {
  return multiply_as(product, dnnl::memory::data_type::bf16, a, b, c);
}

std::optional<std::int64_t> scratch_bytes(const Product& product, bool bf16) {
  if (!usable()) return std::nullopt;
  const OneThread one;
  const Primitive& matmul = matmul_of(product, bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32);
  if (!matmul) return std::nullopt;
  return static_cast<std::int64_t>(matmul.scratch_bytes());
}

}  // namespace twopass::onednn
