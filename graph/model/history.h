// What training has seen, epoch by epoch.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace twopass {

/// Values by name, sorted by name: the loss and metrics of an epoch.
using Logs = std::vector<std::pair<std::string, double>>;

/// A list of values per name ("loss", "accuracy", "val_loss", …), one value an epoch.
class History {
 public:
  /// The values of one name; refuses others, listing those that there are.
  const std::vector<double>& operator[](const std::string& name) const;
  bool contains(const std::string& name) const;
  std::vector<std::string> names() const;
  /// The epochs' numbers, from 0.
  const std::vector<int>& epochs() const { return epochs_; }
  void add(int epoch, const Logs& logs);
  /// For a person: a table with a column per name and a line an epoch, counted from 1 as fit does.
  std::string text() const;
  /// A header "epoch,accuracy,loss,…" and a line an epoch; digits round-trip.
  void save_csv(std::string_view path) const;

 private:
  std::vector<int> epochs_;
  std::vector<std::pair<std::string, std::vector<double>>> values_;
};

}  // namespace twopass
