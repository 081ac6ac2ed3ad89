#include <twopass/twopass.h>

#include <cstdio>

int main() {
  using namespace twopass;
  const Tensor x = variable(tensor({1.0, 2.0, 3.0}, f64));
  const Gradients g = backward(sum(x * x));
  std::printf("%s\n", g[x].text().c_str());
  return g[x].at<double>(2) == 6 ? 0 : 1;
}
