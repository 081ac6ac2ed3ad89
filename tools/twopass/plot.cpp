#include "plot.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <twopass/core/csv.h>
#include <twopass/core/error.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

using namespace twopass;

namespace {

std::string quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("''") : std::string(1, c);
  return quoted + "'";
}

std::string terminal(const std::string& out, int width, int height) {
  const bool svg = out.ends_with(".svg");
  if (!svg && !out.ends_with(".png")) throw Error(fmt::format("plot: \"{}\" must end in .svg or .png", out));
  return fmt::format("set terminal {} size {},{} enhanced font 'Helvetica,11' background rgb 'white'\nset output {}\n",
                     svg ? "svg" : "pngcairo", width, height, quoted(out));
}

void run_gnuplot(const std::string& script, const std::string& out) {
  // Where gnuplot can't write its file, it writes to the terminal.
  const std::size_t slash = out.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : out.substr(0, slash + 1);
  if (::access(folder.c_str(), W_OK) != 0)
    throw Error(fmt::format("plot: {} can't be written: {}: {}", out, folder, std::strerror(errno)));
  std::FILE* pipe = popen("gnuplot", "w");  // the script goes through the pipe: nothing of it reaches the shell
  if (!pipe) throw Error("plot: gnuplot can't be started");
  const bool written = std::fwrite(script.data(), 1, script.size(), pipe) == script.size();
  const int status = pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    throw Error("plot: gnuplot is not installed (Debian: gnuplot-nox)");
  if (!written || status != 0) throw Error(fmt::format("plot: gnuplot failed to write {}", out));
}

}  // namespace

void plot_history(const std::string& csv, const std::string& out) {
  const Csv table = read_csv(csv, {.dtype = f64});
  if (table.columns.empty() || table.columns[0] != "epoch" || table.columns.size() < 2)
    throw Error(fmt::format("{}: is no history: its first column must be \"epoch\", followed by values", csv));
  const auto values = table.values.values<double>();
  const std::size_t width = table.columns.size(), rows = values.size() / width;
  std::string script = terminal(out, 900, 380), losses, others;
  for (std::size_t column = 1; column < width; ++column) {
    const std::string& name = table.columns[column];
    script += fmt::format("$c{} << END\n", column);
    for (std::size_t row = 0; row < rows; ++row)
      if (std::isfinite(values[row * width + column]))
        script += fmt::format("{} {}\n", values[row * width] + 1, values[row * width + column]);
    script += "END\n";
    std::string& panel = name.ends_with("loss") ? losses : others;
    const std::string_view bare = name.starts_with("val_") ? std::string_view(name).substr(4) : std::string_view(name);
    std::size_t colour = 0;  // a value and its val_ twin share a colour
    for (std::size_t k = 1; k < width && table.columns[k] != bare; ++k) ++colour;
    panel += fmt::format("{}$c{} using 1:2 with linespoints pt 7 ps 0.5 lw 2 lc {} dt {} title {} noenhanced",
                         panel.empty() ? "plot " : ", ", column, colour % 8 + 1, name.starts_with("val_") ? 2 : 1,
                         quoted(name));
  }
  // Ticks at whole epochs, ten at most.
  script += fmt::format(
      "set grid lc rgb '#dddddd'\nset key top right opaque\nset xlabel 'epoch'\nset xtics nomirror {}\nset ytics "
      "nomirror\nset border 3\n{}\n",
      (rows + 9) / 10, rows == 1 ? "set xrange [0.5:1.5]" : "");
  script += fmt::format("set multiplot layout 1,{}\n", losses.empty() || others.empty() ? 1 : 2);
  if (!losses.empty()) script += "set ylabel 'loss'\n" + losses + "\n";
  if (!others.empty()) script += "set ylabel 'metric'\nset key bottom right\n" + others + "\n";
  run_gnuplot(script + "unset multiplot\n", out);
}

void plot_templates(const Tensor& kernel, const std::vector<std::string>& classes, const std::string& out) {
  const std::int64_t features = kernel.shape()[0], count = kernel.shape()[1];
  const bool colour = features == 3072;
  if (!colour && features != 784)
    throw Error(fmt::format("plot: {} weights per class are no image: 784 (28 × 28) and 3072 (3 × 32 × 32) are drawn",
                            features));
  const std::int64_t side = colour ? 32 : 28, planes = colour ? 3 : 1, pixels = side * side;
  const std::int64_t across = std::min<std::int64_t>(count, 5), down = (count + across - 1) / across;
  std::string script = terminal(out, static_cast<int>(across) * 170, static_cast<int>(down) * 195);
  script +=
      "unset key\nunset tics\nunset colorbox\nset border lc rgb '#999999'\nset size ratio 1\nset yrange [] reverse\n";
  script += colour ? "" : "set palette defined (0 '#2166ac', 0.5 '#f7f7f7', 1 '#b2182b')\nset cbrange [-1:1]\n";
  script += fmt::format("set multiplot layout {},{} margins 0.02,0.98,0.02,0.92 spacing 0.02,0.08\n", down, across);
  for (std::int64_t k = 0; k < count; ++k) {
    const auto weight = [&](std::int64_t plane, std::int64_t pixel) {
      return kernel.at<double>((plane * pixels + pixel) * count + k);
    };
    double largest = 0;  // each template has its own scale
    for (std::int64_t plane = 0; plane < planes; ++plane)
      for (std::int64_t pixel = 0; pixel < pixels; ++pixel) largest = std::max(largest, std::abs(weight(plane, pixel)));
    if (largest == 0) largest = 1;
    script += fmt::format("$t{} << END\n", k);
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
      script += fmt::format("{} {}", pixel % side, pixel / side);
      for (std::int64_t plane = 0; plane < planes; ++plane) {
        const double scaled = weight(plane, pixel) / largest;
        script += colour ? fmt::format(" {}", std::lround(127.5 + 127.5 * scaled)) : fmt::format(" {:.4f}", scaled);
      }
      script += "\n";
    }
    const auto at = static_cast<std::size_t>(k);
    script +=
        fmt::format("END\nset title {} noenhanced offset 0,-0.7\nplot $t{} with {}\n",
                    quoted(at < classes.size() ? classes[at] : std::to_string(k)), k, colour ? "rgbimage" : "image");
  }
  run_gnuplot(script + "unset multiplot\n", out);
}
