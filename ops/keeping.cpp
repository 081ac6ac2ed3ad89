#include <twopass/ops/keeping.h>

namespace twopass {
namespace {

thread_local constinit int scopes = 0;

}  // namespace

KeepingScope::KeepingScope() { ++scopes; }
KeepingScope::~KeepingScope() { --scopes; }

bool keeping_everything() { return scopes > 0; }

}  // namespace twopass
