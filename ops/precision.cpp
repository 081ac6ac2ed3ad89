#include <twopass/ops/precision.h>

#include <twopass/core/error.h>
#include <twopass/ops/onednn.h>

namespace twopass {
namespace {

thread_local Precision current = Precision::single;

}  // namespace

bool bf16_available() { return onednn::has_bf16(); }

Precision products_precision() { return current; }

PrecisionScope::PrecisionScope(Precision precision) : before_(current) {
  if (precision == Precision::bf16 && !bf16_available())
    throw Error(onednn::description().empty()
                    ? "products in bf16 need oneDNN, which this build does not have"
                    : "products in bf16 need a processor with AVX512-BF16 or AMX, which this one has not");
  current = precision;
}
PrecisionScope::~PrecisionScope() { current = before_; }

}  // namespace twopass
