// The one value of an epoch that a callback watches.
#pragma once
#include <string>
#include <vector>

#include <twopass/graph/model/history.h>

namespace twopass {

class Monitored {
 public:
  /// `who` is what errors call the callback. Refuses other modes than "auto", "min" and "max", and "auto" for a name
  /// that does not say whether it is to grow.
  Monitored(const char* who, const std::string& name, const std::string& mode);
  /// Whether a value is better than another by more than `by`.
  bool better(double value, double than, double by = 0) const;
  /// What every finite value is better than.
  double worst() const;
  /// The value in an epoch's logs; refuses logs that do not have it.
  double in(const Logs& logs) const;
  /// Refuses names of an epoch's logs that it is not among.
  void check_among(const std::vector<std::string>& names) const;

 private:
  const char* who_;
  std::string name_;
  bool larger_is_better_;
};

}  // namespace twopass
