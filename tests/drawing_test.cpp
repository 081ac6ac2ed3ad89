#include <doctest/doctest.h>

#include <graphviz/cgraph.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <twopass/core/error.h>
#include <twopass/core/files.h>
#include <twopass/graph/dot/dot.h>
#include <twopass/graph/dot/render.h>
#include <twopass/graph/layers/layers.h>
#include <twopass/graph/model/sequential.h>
#include <twopass/ops/creation.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/products.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

#include "temporary_folder.h"

using namespace twopass;
using doctest::Contains;

namespace {

// What Graphviz's own library reads in a DOT text.
struct Parsed {
  bool valid = false;
  int nodes = 0, edges = 0, clusters = 0;
  std::vector<std::string> names, labels;
  bool has(const std::string& part) const {
    for (const std::string& label : labels)
      if (label.find(part) != std::string::npos) return true;
    return false;
  }
};

int clusters_in(Agraph_t* graph) {
  int count = 0;
  for (Agraph_t* each = agfstsubg(graph); each; each = agnxtsubg(each)) count += 1 + clusters_in(each);
  return count;
}

Parsed parse(const std::string& dot) {
  Parsed found;
  agseterr(AGMAX);  // silent: the test says it
  const std::unique_ptr<Agraph_t, int (*)(Agraph_t*)> graph(agmemread(dot.c_str()), &agclose);
  if (!graph) return found;
  found.valid = true;
  found.nodes = agnnodes(graph.get());
  found.edges = agnedges(graph.get());
  found.clusters = clusters_in(graph.get());
  for (Agnode_t* node = agfstnode(graph.get()); node; node = agnxtnode(graph.get(), node)) {
    found.names.emplace_back(agnameof(node));
    char label[] = "label";
    if (const char* text = agget(node, label)) found.labels.emplace_back(text);
  }
  return found;
}

// A model of one dense layer with this name.
Parsed with_name(const std::string& name) {
  const Tensor x = input({2}, "x");
  return parse(to_dot(Model(x, Dense(1, {.name = name})(x))));
}

// The text that a reader of the picture sees.
std::string rendered(const std::string& name) {
  const Tensor x = input({2}, "x");
  const TemporaryFolder folder;
  render(to_dot(Model(x, Dense(1, {.name = name})(x))), folder.at("x.svg"));
  return read_file(folder.at("x.svg"));
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Model multi_label() {
  const Tensor x = input({8}, "image");
  const Tensor trunk = Dense(6, {.activation = "relu"})(x);
  Model model(x,
              {Dense(3, {.activation = "softmax", .name = "digit"})(trunk),
               Dense(2, {.activation = "sigmoid", .name = "flags"})(trunk)},
              {.name = "multi-label"});
  model.compile({.loss = {{"digit", categorical_crossentropy()}, {"flags", binary_crossentropy()}}});
  return model;
}

std::vector<Model> topologies() {
  std::vector<Model> models{multi_label()};
  models.push_back(Sequential({Dense(3, {.activation = "relu"}), Dropout(0.2), Dense(2)}, {.input_shape = {4}}));
  const Tensor x = input({4}, "image"), facts = input({2}, "facts");
  Tensors votes;
  for (int k = 0; k < 3; ++k) votes.push_back(Sequential({Dense(3), Dense(2)}, {.input_shape = {4}})(x));
  models.push_back(Model(x, Average()(votes)));
  models.push_back(Model({x, facts}, Dense(2)(Concatenate()({Dense(3)(x), Dense(3)(facts)}))));
  Tensor h = x;
  for (int k = 0; k < 3; ++k) h = h + Dense(4)(Dense(4, {.activation = "relu"})(h));
  models.push_back(Model(x, h));
  for (std::size_t k = 1; k < models.size(); ++k) models[k].compile({.loss = mean_squared_error()});
  return models;
}

}  // namespace

TEST_CASE("D1: a quote in a name is escaped") {
  CHECK(with_name("say \"cheese\"").has("say \"cheese\""));
  CHECK(has(rendered("say \"cheese\""), "say &quot;cheese&quot;"));
}

TEST_CASE("D2: backslashes are doubled, a trailing one too") {
  CHECK(with_name("a\\").valid);
  CHECK(has(rendered("a\\b\\"), "a\\b\\ "));
}

TEST_CASE("D3: what Graphviz would expand stands as it is written") {
  const std::string svg = rendered("\\N \\G \\L");
  CHECK(has(svg, "\\N \\G \\L"));
}

TEST_CASE("D4: line breaks break lines, and control characters do no harm") {
  const Parsed parsed =
      with_name(std::string("one\ntwo\tthree\rfour\x01"
                            "five\0six",
                            27));
  CHECK(parsed.valid);
  CHECK(
      parsed.has("one\\ntwo three four\xEF\xBF\xBD"
                 "five\xEF\xBF\xBDsix"));
}

TEST_CASE("D5: markup and entities are shown, not read") {
  const std::string svg = rendered("<b> &lt; &");
  CHECK(has(svg, "&lt;b&gt; &amp;lt; &amp; "));
}

TEST_CASE("D6: unicode is kept, invalid UTF-8 replaced") {
  CHECK(with_name("größe → 数").has("größe → 数"));
  CHECK(with_name("bad \xFF\xC3 end").has("bad \xEF\xBF\xBD\xEF\xBF\xBD end"));
  CHECK(has(rendered("größe"), "größe"));
}

TEST_CASE("D7: a label of more than 16,384 characters is cut to 200 with an ellipsis") {
  const Parsed parsed = with_name(std::string(20000, 'x'));
  CHECK(parsed.has(std::string(200, 'x') + "…"));
  CHECK_FALSE(parsed.has(std::string(201, 'x')));
}

TEST_CASE("D8: names that mean something to DOT are labels only; nodes are n0, n1, …") {
  for (const char* name : {"node", "graph", "edge", "strict", "digraph", "subgraph", "a:b", "n0"}) {
    const Parsed parsed = with_name(name);
    CHECK(parsed.names == std::vector<std::string>{"n0", "n1", "n2"});
    CHECK(parsed.has(std::string(name) + " · Dense"));
  }
}

TEST_CASE("D9: braces, bars and angles in names are shown") {
  CHECK(with_name("{a|b}<c>").has("{a|b}<c>"));
  CHECK(has(rendered("{a|b}<c>"), "{a|b}&lt;c&gt;"));
}

TEST_CASE("D10: x * x has two edges, a shared layer is one node, every output of a layer has its edge") {
  const Tensor x = variable(ones({2}), "x");
  CHECK(parse(to_dot(x * x)).edges == 2);
  CHECK(parse(to_dot(x * x)).nodes == 2);
  const Tensor a = input({3}, "a"), b = input({3}, "b");
  const Dense shared(3);
  const Parsed parsed = parse(to_dot(Model({a, b}, shared(a) + shared(b))));
  CHECK(parsed.nodes == 5);  // a, b, dense, add, output
  CHECK(parsed.edges == 5);  // a and b to dense, dense twice to add, add to output
  const Model two = multi_label();
  const Tensor image = input({8});
  const Tensors both = two.call(image);
  CHECK(parse(to_dot(Model(image, both))).edges == 3);
}

TEST_CASE("D11: equal graphs give equal bytes, whatever was made between them") {
  for (const DotLevel level : {DotLevel::layer, DotLevel::op, DotLevel::backward}) {
    const Model first = multi_label();
    const Tensors between(100, ones({3, 3}));
    const Model second = multi_label();
    CHECK(to_dot(first, {.level = level}) == to_dot(second, {.level = level}));
  }
  CHECK_FALSE(has(to_dot(multi_label(), {.level = DotLevel::backward}), "0x"));
}

TEST_CASE("D11: a loaded model is drawn with the bytes of the one that was saved, at every level") {
  const TemporaryFolder folder;
  const std::string path = folder.at("model.twopass");
  for (const Model& model : topologies()) {
    std::vector<std::string> drawn;
    for (const DotLevel level : {DotLevel::layer, DotLevel::op, DotLevel::backward})
      drawn.push_back(to_dot(model, {.level = level}));
    model.save(path);
    const Model again = load(path);
    for (const DotLevel level : {DotLevel::layer, DotLevel::op, DotLevel::backward})
      CHECK(to_dot(again, {.level = level}) == drawn[static_cast<std::size_t>(level)]);
  }
}

TEST_CASE("D12: a hundred thousand recorded ops are drawn, a node and an edge each") {
  const Tensor x = variable(tensor({1.0}));
  Tensor y = x;
  for (int k = 0; k < 100000; ++k) y = sin(y);
  const Parsed parsed = parse(to_dot(y));
  CHECK(parsed.nodes == 100001);
  CHECK(parsed.edges == 100000);
}

TEST_CASE("D12: render writes the format that the path names, and refuses what it can't write, leaving nothing") {
  const TemporaryFolder folder;
  const auto at = [&](const char* name) { return folder.at(name); };
  const std::string dot = "digraph { a -> b }";
  render(dot, at("x.svg"));
  render(dot, at("x.png"));
  render(dot, at("x.pdf"));
  render(dot, at("x.dot"));
  CHECK(has(read_file(at("x.svg")).substr(0, 300), "<?xml"));
  CHECK(read_file(at("x.png")).substr(1, 3) == "PNG");
  CHECK(read_file(at("x.pdf")).substr(0, 4) == "%PDF");
  CHECK(read_file(at("x.dot")) == dot);
  CHECK_THROWS_WITH_AS(render(dot, at("y.jpeg")), Contains("jpeg"), Error);
  CHECK_THROWS_AS(render("digraph {", at("y.svg")), Error);
  CHECK_THROWS_WITH_AS(render(dot, at("none/y.svg")), Contains("y.svg"), Error);
  CHECK_FALSE(is_file(at("y.svg")));
  CHECK_FALSE(is_file(at("y.jpeg")));
}

TEST_CASE("every topology is drawn at every level as Graphviz reads it") {
  for (const Model& model : topologies())
    for (const DotLevel level : {DotLevel::layer, DotLevel::op, DotLevel::backward}) {
      const Parsed parsed = parse(to_dot(model, {.level = level}));
      CHECK(parsed.valid);
      CHECK(parsed.nodes > static_cast<int>(model.inputs().size() + model.outputs().size()));
      for (const std::string& name : parsed.names) CHECK((name.starts_with("n") || name.starts_with("t")));
    }
}

TEST_CASE("level layer shows shapes, dtypes and parameter counts") {
  const Parsed parsed = parse(to_dot(multi_label()));
  CHECK(parsed.nodes == 6);  // image, dense, digit, flags and two outputs
  CHECK(parsed.edges == 5);
  CHECK(parsed.has("image\\n(None, 8) f32"));
  CHECK(parsed.has("dense · Dense"));
  CHECK(parsed.has("(None, 6) f32\\n54 parameters"));  // 8 · 6 + 6
}

TEST_CASE("level op shows the ops of each layer in a frame of its own, nested models in frames inside") {
  const Parsed flat = parse(to_dot(multi_label(), {.level = DotLevel::op}));
  CHECK(flat.clusters == 3);
  CHECK(flat.has("affine_relu"));
  CHECK(flat.has("kernel\\n(8, 6) f32"));
  const Tensor x = input({4});
  const Model inner = Sequential({Dense(3), Dense(2)}, {.input_shape = {4}});
  CHECK(parse(to_dot(Model(x, inner(x)), {.level = DotLevel::op})).clusters == 3);
}

TEST_CASE("level backward shows both passes and a gradient for every parameter") {
  const Parsed parsed = parse(to_dot(multi_label(), {.level = DotLevel::backward}));
  CHECK(parsed.clusters == 2);
  for (const char* path : {"dense/kernel", "dense/bias", "digit/kernel", "digit/bias", "flags/kernel", "flags/bias"})
    CHECK(parsed.has("d loss / d " + std::string(path)));
  CHECK(parsed.has("affine_relu\\n(32, 6) f32"));
  CHECK(parsed.has("digit/kernel\\n(6, "));  // three layers have a kernel
}

TEST_CASE(
    "the picture of a model's step names inputs, targets, losses, metrics, parameters and slots by their layers") {
  const Tensor image = input({4}, "image");
  Model model(image, Dense(2, {.activation = "softmax"})(Dense(3, {.activation = "relu"})(image)));
  model.compile({.optimizer = adam(), .loss = categorical_crossentropy(), .metrics = {accuracy()}});
  const Parsed parsed = parse(to_dot(model.step_plan(ones({5, 4}), ones({5, 2}))));
  for (const char* label :
       {"image\\n(5, 4) f32", "dense_1 targets\\n(5, 2) f32", "learning rate\\n() f64", "dense/kernel\\n(4, 3) f32",
        "dense_1/kernel\\n(3, 2) f32", "adam/dense_1/bias/momentum\\n(2,) f32", "accuracy", "dense_1 loss",
        "new \"adam/dense/kernel/velocity\""})
    CHECK_MESSAGE(parsed.has(label), label);
  CHECK(parsed.has("%0 image\\n"));  // as text() says it
  CHECK_FALSE(parsed.has("input 0"));
  CHECK_FALSE(parsed.has("output 0"));
}

TEST_CASE("a text that is an argument is cut to 24 bytes in labels, no character in two") {
  const Tensor x = variable(ones({2}), "x");
  CHECK(parse(to_dot(within(x, 0, 1, "twenty-four characters .and some")))
            .has("advice=twenty-four characters .…\\n(2,)"));
  CHECK(parse(to_dot(within(x, 0, 1, "twenty-four characters "))).has("advice=twenty-four characters \\n(2,)"));
  CHECK(parse(to_dot(within(x, 0, 1, "twenty-three characterü and so on"))).has("advice=twenty-three characterü…"));
  CHECK(parse(to_dot(within(x, 0, 1, "twenty-two characters__ü"))).has("advice=twenty-two characters__…"));
}

TEST_CASE("the title of a frame is a node in it, so that arrows go round it") {
  const std::string dot = to_dot(multi_label(), {.level = DotLevel::op});
  CHECK(has(dot, "subgraph \"cluster_1\" {\n    graph [style="));
  CHECK(has(dot, "    t1 [label=\"digit · Dense\", shape=plaintext"));
}

TEST_CASE("graphs of more than a thousand nodes are laid out with straight edges, unless their text says how") {
  const TemporaryFolder folder;
  const std::string path = folder.at("large.svg");
  const auto longest_edge = [&](int nodes,
                                const std::string& attributes) {  // characters of an edge past all the others
    std::string dot = "digraph { " + attributes + " n0 -> n" + std::to_string(nodes - 1) + ";";
    for (int k = 1; k < nodes; ++k) dot += " n" + std::to_string(k - 1) + " -> n" + std::to_string(k) + ";";
    render(dot + " }", path);
    const std::string svg = read_file(path);
    std::size_t longest = 0;
    for (std::size_t at = svg.find(" d=\""); at != std::string::npos; at = svg.find(" d=\"", at + 4))
      longest = std::max(longest, svg.find('"', at + 4) - at);
    return longest;
  };
  CHECK(longest_edge(1100, "") < 100);
  CHECK(longest_edge(1100, "graph [splines=true];") > 100);
  CHECK(longest_edge(100, "") > 100);
}

TEST_CASE("the record behind a tensor shows variables by name, kept constants and ops") {
  const Tensor w = variable(ones({2, 3}), "weights");
  const Parsed parsed = parse(to_dot(sum(exp(w) * full({2, 3}, 2.0))));
  CHECK(parsed.nodes == 5);
  CHECK(parsed.has("weights\\n(2, 3) f32"));
  CHECK(parsed.has("exp"));
}

TEST_CASE("a graph that would take Graphviz many minutes is refused as a picture") {
  std::string dot = "digraph large {\n";
  for (int node = 0; node <= 6000; ++node) dot += "n" + std::to_string(node) + "\n";
  CHECK_THROWS_WITH_AS(render(dot + "}", "large.svg"), doctest::Contains("a graph of 6001 nodes"), Error);
}
