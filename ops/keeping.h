// Graphs that keep every value, for those who look at their nodes one by one.
#pragma once

namespace twopass {

/// While it lives, calls that this thread records keep the values of all their inputs, not those alone that gradients
/// read. Scopes nest.
class KeepingScope {
 public:
  KeepingScope();
  ~KeepingScope();
  KeepingScope(const KeepingScope&) = delete;
  KeepingScope& operator=(const KeepingScope&) = delete;
};

/// Whether a KeepingScope lives on this thread.
bool keeping_everything();

}  // namespace twopass
