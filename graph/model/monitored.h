// The one value of an epoch that a callback watches.
#pragma once
#include <string>
#include <vector>

#include <twopass/graph/model/history.h>

namespace twopass {

class Monitored {
 public:
  /// `who` is what errors call the callback. Refuses other modes than "auto", "min" and "max".
  Monitored(const char* who, const std::string& name, const std::string& mode);
  /// Before the first epoch, whose logs have these names, and others unless `all`. Refuses a name that it is not among,
  /// and mode "auto" for one that does not say whether it is to grow.
  void begin(const std::vector<std::string>& names, bool all) const;
  /// Whether a value is better than another by more than `by`.
  bool better(double value, double than, double by = 0) const;
  /// What every finite value is better than.
  double worst() const;
  /// The value in an epoch's logs; refuses logs that do not have it.
  double in(const Logs& logs) const;

 private:
  void check_among(const std::vector<std::string>& names) const;
  const char* who_;
  std::string name_;
  bool knows_better_;
  bool larger_is_better_ = false;
};

}  // namespace twopass
