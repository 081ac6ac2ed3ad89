#include <twopass/graph/layers/calling.h>

namespace twopass {
namespace {

thread_local constinit const Layer* calling = nullptr;

}  // namespace

CallingScope::CallingScope(const Layer* layer) : before_(calling) { calling = layer; }
CallingScope::~CallingScope() { calling = before_; }

const Layer* CallingScope::current() { return calling; }
void CallingScope::makes_model() { calling = nullptr; }

}  // namespace twopass
