// Which layer's call is running. For the files of graph.
#pragma once

namespace twopass {

class Layer;

/// While it lives, this thread is in the call of a layer, where the layers inside are run instead of remembered; with
/// null, as one reads a model's layers or builds one, in none.
class CallingScope {
 public:
  explicit CallingScope(const Layer* layer);
  ~CallingScope();
  CallingScope(const CallingScope&) = delete;
  CallingScope& operator=(const CallingScope&) = delete;
  /// The innermost one's; null in none.
  static const Layer* current();
  /// The innermost call makes a model of its own: what follows in it is remembered.
  static void makes_model();

 private:
  const Layer* before_;
};

}  // namespace twopass
