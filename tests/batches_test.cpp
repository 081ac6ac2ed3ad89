#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <thread>

#include <twopass/core/error.h>
#include <twopass/core/memory.h>
#include <twopass/core/random.h>
#include <twopass/core/threads.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/batches.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/shaping.h>

using namespace twopass;
using doctest::Contains;

namespace {

struct ThreadCount {
  explicit ThreadCount(int count) : before(threads::count()) { threads::set_count(count); }
  ~ThreadCount() { threads::set_count(before); }
  int before;
};

// Row k holds k, k + 0.25, k + 0.5, …: long enough that batches of some rows are made ahead.
Tensor counted_rows(std::int64_t rows, std::int64_t columns, DType dtype = f32) {
  std::vector<double> values;
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column)
      values.push_back(static_cast<double>(row) + 0.25 * static_cast<double>(column % 4));
  return from_values(values, {rows, columns}, dtype);
}

// The first element of each row of all batches; all others are checked against it.
std::vector<std::vector<double>> firsts(Batches batches) {
  std::vector<std::vector<double>> found;
  for (std::int64_t k = 0; k < batches.count(); ++k) {
    const Tensor batch = batches.next()[0][0];
    const std::int64_t columns = batch.shape()[1];
    const std::vector<double> values = batch.values<double>();
    found.emplace_back();
    std::size_t wrong = 0;
    for (std::size_t at = 0; at < values.size(); ++at) {
      const auto column = static_cast<std::int64_t>(at) % columns;
      if (column == 0) found.back().push_back(values[at]);
      if (values[at] != found.back().back() + 0.25 * static_cast<double>(column % 4)) ++wrong;
    }
    CHECK(wrong == 0);
  }
  return found;
}

using Values = std::vector<std::vector<double>>;

std::size_t threads_of_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

}  // namespace

TEST_CASE("batches hold their rows in the order given, and the last one what is left, short rows and long") {
  const std::vector<std::int64_t> order{4, 0, 6, 2, 5, 1, 3};
  for (const std::int64_t columns : {1, 3, 17, 5000}) {
    const Rows rows({counted_rows(7, columns)}, {}, "rows");
    CHECK(firsts(Batches({&rows}, 3, order)) == Values{{4, 0, 6}, {2, 5, 1}, {3}});
    CHECK(firsts(Batches({&rows}, 7, order)) == Values{{4, 0, 6, 2, 5, 1, 3}});
    CHECK(firsts(Batches({&rows}, 3)) == Values{{0, 1, 2}, {3, 4, 5}, {6}});
  }
}

TEST_CASE("what a batch cannot be made of is told when it is asked for, not before, short rows and long") {
  static_assert(!std::is_move_constructible_v<Batches>);  // its work points to it
  const std::vector<std::int64_t> order{1, 0, 1, 9};
  for (const std::int64_t columns : {1, 5000}) {
    const Rows rows({counted_rows(2, columns)}, {}, "rows");
    Batches batches({&rows}, 2, order);
    CHECK(batches.next()[0][0].at<float>(0) == 1);
    CHECK_THROWS_WITH_AS(batches.next(), "there is no row 9 of 2", Error);
  }
}

TEST_CASE("batches of a part of the rows, and of several sets, hold the same rows of each") {
  const Rows all({counted_rows(10, 4000), counted_rows(10, 2, i64)}, {}, "rows");
  const Rows part = all.range(4, 10), weights({arange(4, 10)}, {}, "weights");
  const std::vector<std::int64_t> order{5, 0, 3};
  Batches batches({&part, &weights}, 2, order);
  CHECK(batches.count() == 2);
  const std::vector<Tensors> first = batches.next();
  CHECK(first[0][0].shape() == Shape{2, 4000});
  CHECK(first[0][0].at<double>(4000) == 4);
  CHECK(first[0][1].values<double>() == std::vector<double>{9, 9, 4, 4});
  CHECK(first[1][0].values<double>() == std::vector<double>{9, 4});
  CHECK(batches.next()[1][0].values<double>() == std::vector<double>{7});
}

TEST_CASE("batches of rows as they lie share the memory of the data where nothing is converted") {
  const Rows rows({counted_rows(6, 4000)}, {}, "rows"), doubles({counted_rows(6, 4000, f64)}, {}, "rows", {f32});
  Batches batches({&rows, &doubles}, 4);
  for (std::int64_t first = 0; first < 6; first += 4) {
    const std::vector<Tensors> batch = batches.next();
    CHECK(batch[0][0].data<float>() == rows.tensors()[0].data<float>() + first * 4000);
    CHECK(batch[1][0].values<float>() == batch[0][0].values<float>());
  }
}

TEST_CASE("batches are converted as cast converts, whatever dtype the rows have") {
  std::vector<double> values(10000);
  for (std::size_t k = 0; k < values.size(); ++k) values[k] = std::sin(static_cast<double>(k)) * std::pow(10.0, k % 60);
  values[77] = 1e300;   // infinite in f32
  values[78] = 1e-320;  // 0
  const std::vector<std::int64_t> order{3, 1, 2, 0};
  const Tensor wide = from_values(values, {4, 2500}, f64), whole = cast(clip(wide, -1e6, 1e6), i64);
  const auto check = [&](const Tensor& from, DType to) {
    const Rows rows({from}, {}, "rows", {to});
    const Tensor batch = Batches({&rows}, 4, order).next()[0][0], all = cast(from, to);
    REQUIRE(batch.dtype() == to);
    std::vector<double> wanted;
    for (const std::int64_t row : order)
      for (const double value : slice(all, 0, row, row + 1).values<double>()) wanted.push_back(value);
    CHECK(batch.values<double>() == wanted);
  };
  for (const DType to : {f32, f64, boolean}) {
    check(wide, to);
    check(whole, to);
    check(wide > 0.0, to);
  }
  check(cast(whole, f64), i64);
  CHECK_THROWS_WITH_AS(Rows({wide}, {}, "rows", {i64}), "rows hold 8.414709848078965 in row 0: i64 takes whole numbers",
                       Error);
}

TEST_CASE("what is wrong with a batch is told when it is asked for, not before, and nothing is kept") {
  const std::int64_t before = memory::live_bytes();
  {
    const Rows rows({counted_rows(8, 5000)}, {}, "rows");
    const std::vector<std::int64_t> order{0, 1, 2, 3, 4, 8, -1, 5};
    for (const int count : {1, 2, 4}) {
      const ThreadCount scope(count);
      Batches batches({&rows}, 4, order);
      CHECK(batches.next()[0][0].at<float>(0) == 0);
      CHECK_THROWS_WITH_AS(batches.next(), Contains("there is no row"), Error);
    }
  }
  CHECK(memory::live_bytes() == before);
}

TEST_CASE("batches that nobody asks for any more leave no thread and no memory behind") {
  const ThreadCount two(2);
  const Rows rows({counted_rows(256, 5000)}, {}, "rows");
  std::vector<std::int64_t> order(256);
  std::iota(order.begin(), order.end(), 0);
  Batches({&rows}, 64, order).next();
  const std::size_t running = threads_of_process();
  const std::int64_t held = memory::live_bytes();
  for (int k = 0; k < 50; ++k) Batches({&rows}, 64, order).next();
  CHECK(threads_of_process() == running);
  CHECK(memory::live_bytes() == held);
}

TEST_CASE("fit that stops early leaves no thread behind") {
  const ThreadCount two(2);
  const Tensor x = Random(1).uniform({96, 1000}), y = zeros({96, 1});
  Model model = Sequential({Dense(1)}, {.input_shape = {1000}});
  model.compile({.optimizer = sgd({.learning_rate = 1e-3}), .loss = mean_squared_error()});
  struct Stopped : Callback {
    void on_batch_end(TrainingState&, std::int64_t step, const Logs&) override {
      if (step == 1) throw Error("enough");
    }
  };
  const auto stop = std::make_shared<Stopped>();
  CHECK_THROWS_WITH_AS(model.fit(x, y, {.verbose = 0, .callbacks = {stop}}), "enough", Error);
  const std::size_t running = threads_of_process();
  for (int k = 0; k < 20; ++k) CHECK_THROWS_AS(model.fit(x, y, {.verbose = 0, .callbacks = {stop}}), Error);
  CHECK(threads_of_process() == running);
}

TEST_CASE("training, evaluation and prediction have equal bits on 1, 2 and 4 threads, converted or not") {
  const Tensor wide = Random(1).uniform({200, 1500}, f64), narrow = cast(wide, f32);
  const Tensor y = Random(2).uniform({200, 1}), weights = Random(3).uniform({200}, f64);
  std::vector<std::vector<double>> found;
  for (const int count : {1, 2, 4}) {
    const ThreadCount scope(count);
    for (const Tensor& x : {wide, narrow}) {
      Model model = Sequential({Dense(4, {.activation = "tanh"}), Dense(1)}, {.input_shape = {1500}, .seed = 3});
      model.compile({.optimizer = sgd({.learning_rate = 1e-2}), .loss = mean_squared_error()});
      const History history = model.fit(
          x, y, {.epochs = 2, .batch_size = 48, .validation_split = 0.2, .sample_weight = weights, .verbose = 0});
      found.push_back(model.predict(x, 64).values<double>());
      found.back().push_back(history["loss"].back());
      found.back().push_back(history["val_loss"].back());
      found.back().push_back(model.evaluate(x, y)["loss"]);
    }
  }
  for (const std::vector<double>& each : found) CHECK(each == found[0]);
}

TEST_CASE("data that are converted are not held a second time as a whole") {
  const Tensor x = Random(1).uniform({512, 4096}, f64), y = zeros({512, 1});  // 16 MiB
  Model model = Sequential({Dense(1)}, {.input_shape = {4096}});
  model.compile({.optimizer = sgd({.learning_rate = 1e-4}), .loss = mean_squared_error()});
  const std::int64_t before = memory::live_bytes();
  memory::reset_peak();
  model.fit(x, y, {.verbose = 0});
  model.evaluate(x, y);
  model.predict(x);
  CHECK(memory::peak_bytes() - before < 4 << 20);
}

TEST_CASE("F6: what becomes infinite when it is converted is refused where asked") {
  Model model = Sequential({Dense(1)}, {.input_shape = {1}});
  model.compile({.loss = mean_squared_error()});
  CHECK_THROWS_WITH_AS(model.fit(tensor({{1.0}, {1e300}}, f64), ones({2, 1}), {.check_finite = true, .verbose = 0}),
                       Contains("in row 1"), Error);
}
