#include <twopass/ops/named.h>

#include <string_view>

namespace twopass {

Error named(const Error& reason, const char* name, std::initializer_list<const Tensor*> inputs) {
  const std::string_view said = reason.what(), own = name;
  if (said.starts_with(own) && (said.substr(own.size()).starts_with('(') || said.substr(own.size()).starts_with(':')))
    return reason;
  std::string shapes;
  int count = 0;
  for (const Tensor* input : inputs)
    if (input->defined()) shapes += (count++ ? ", " : "") + input->shape().text();
  const std::string call = std::string(own) + (count < 2 ? shapes : "(" + shapes + ")");
  return Error(call + ": " + reason.what(), reason.cause());
}

}  // namespace twopass
