#include <twopass/ops/contractions.h>

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include <twopass/core/error.h>
#include <twopass/ops/elementwise.h>
#include <twopass/ops/named.h>
#include <twopass/ops/products.h>
#include <twopass/ops/rearranging.h>
#include <twopass/ops/reduction.h>
#include <twopass/ops/shaping.h>

namespace twopass {
namespace {

using Sizes = std::vector<std::int64_t>;

void check_vectors(const char* name, const Tensor& a, const Tensor& b) {
  if (a.rank() != 1 || b.rank() != 1)
    throw Error(
        fmt::format("{}({}, {}): two vectors of one axis are wanted", name, a.shape().text(), b.shape().text()));
}

// The size of axes joined into one; open where one of them is.
std::int64_t joined(const Sizes& sizes) {
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) {
    if (size == kOpen) return kOpen;
    product = checked_product(product, size);
  }
  return product;
}

Sizes appended(Sizes a, const Sizes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Sizes counted(const Shape& shape, const Sizes& axes) {
  Sizes result;
  for (const std::int64_t axis : axes) {
    result.push_back(shape.axis(axis));
    if (std::count(result.begin(), result.end(), result.back()) > 1)
      throw Error(fmt::format("axis {} is named twice", result.back()));
  }
  return result;
}

Sizes others(int rank, const Sizes& axes) {
  Sizes result;
  for (int axis = 0; axis < rank; ++axis)
    if (std::find(axes.begin(), axes.end(), axis) == axes.end()) result.push_back(axis);
  return result;
}

Sizes sizes_at(const Shape& shape, const Sizes& axes) {
  Sizes sizes;
  for (const std::int64_t axis : axes) sizes.push_back(shape[static_cast<int>(axis)]);
  return sizes;
}

// Axes are known by letters; those that "..." stands for are counted from the last one, above all letters.
using Letters = std::vector<int>;
constexpr int kLast = 1000;

bool has(const Letters& letters, int letter) {
  return std::find(letters.begin(), letters.end(), letter) != letters.end();
}

struct Term {
  Tensor value;
  Letters letters;
};

Letters letters_of(std::string_view text, int rank) {
  Letters letters;
  const std::size_t dots = text.find("...");
  const int named = static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return c != '.'; }));
  if (dots == std::string_view::npos ? named != rank : named > rank)
    throw Error(fmt::format("\"{}\" names {} axes of an input that has {}", text, named, rank));
  for (std::size_t k = 0; k < text.size(); ++k) {
    if (k == dots) {
      for (int left = rank - named; left > 0; --left) letters.push_back(kLast + left);
      k += 2;
    } else if ((text[k] >= 'a' && text[k] <= 'z') || (text[k] >= 'A' && text[k] <= 'Z')) {
      letters.push_back(text[k]);
    } else {
      throw Error(fmt::format("\"{}\" has no letter at place {}", text, k));
    }
  }
  return letters;
}

// Letters that stand twice become their diagonal.
void take_diagonals(Term& term) {
  for (std::size_t first = 0; first < term.letters.size(); ++first) {
    const int letter = term.letters[first];
    const auto again =
        std::find(term.letters.begin() + static_cast<std::ptrdiff_t>(first) + 1, term.letters.end(), letter);
    if (again == term.letters.end()) continue;
    const int second = static_cast<int>(again - term.letters.begin());
    const Shape& shape = term.value.shape();
    if (shape[static_cast<int>(first)] != shape[second])
      throw Error(fmt::format("'{}' has sizes {} and {}", static_cast<char>(letter), shape[static_cast<int>(first)],
                              shape[second]));
    term.value = diagonal(moveaxis(moveaxis(term.value, second, -1), static_cast<int>(first), -2));
    term.letters.erase(again);
    term.letters.erase(term.letters.begin() + static_cast<std::ptrdiff_t>(first));
    term.letters.push_back(letter);
    --first;
  }
}

void sum_unneeded(Term& term, const Letters& needed) {
  Sizes axes;
  Letters left;
  for (std::size_t k = 0; k < term.letters.size(); ++k)
    if (has(needed, term.letters[k]))
      left.push_back(term.letters[k]);
    else
      axes.push_back(static_cast<std::int64_t>(k));
  if (axes.empty()) return;
  term.value = sum(term.value, axes);
  term.letters = left;
}

Tensor in_order(const Term& term, const Letters& wanted) {
  if (term.letters == wanted) return term.value;
  Sizes order;
  for (const int letter : wanted)
    order.push_back(std::find(term.letters.begin(), term.letters.end(), letter) - term.letters.begin());
  return transpose(term.value, order);
}

// One product of matrices: [shared, own of a, summed] by [shared, summed, own of b].
Term multiplied(Term a, Term b, const Letters& needed) {
  Letters for_a = needed, for_b = needed, shared, summed, own_a, own_b;
  for_a.insert(for_a.end(), b.letters.begin(), b.letters.end());
  for_b.insert(for_b.end(), a.letters.begin(), a.letters.end());
  sum_unneeded(a, for_a);
  sum_unneeded(b, for_b);
  for (const int letter : a.letters)
    (!has(b.letters, letter) ? own_a : has(needed, letter) ? shared : summed).push_back(letter);
  for (const int letter : b.letters)
    if (!has(a.letters, letter)) own_b.push_back(letter);
  const auto together = [](const Letters& x, const Letters& y, const Letters& z) {
    Letters all = x;
    all.insert(all.end(), y.begin(), y.end());
    all.insert(all.end(), z.begin(), z.end());
    return all;
  };
  const Tensor left = in_order(a, together(shared, own_a, summed)),
               right = in_order(b, together(shared, summed, own_b));
  const auto part = [](const Tensor& x, std::size_t first, std::size_t count) {
    return Sizes(x.shape().begin() + first, x.shape().begin() + first + count);
  };
  const std::size_t s = shared.size();
  const Sizes lead = part(left, 0, s), rows = part(left, s, own_a.size()),
              inner = part(left, s + own_a.size(), summed.size()),
              columns = part(right, s + summed.size(), own_b.size());
  const Tensor product = matmul(reshape(left, appended(lead, {joined(rows), joined(inner)})),
                                reshape(right, appended(lead, {joined(inner), joined(columns)})));
  return {reshape(product, appended(appended(lead, rows), columns)), together(shared, own_a, own_b)};
}

void check_sizes(const std::vector<Term>& terms) {
  std::vector<std::pair<int, std::int64_t>> known;
  for (const Term& term : terms)
    for (std::size_t k = 0; k < term.letters.size(); ++k) {
      const std::int64_t size = term.value.shape()[static_cast<int>(k)];
      const auto found =
          std::find_if(known.begin(), known.end(), [&](const auto& each) { return each.first == term.letters[k]; });
      if (found == known.end())
        known.emplace_back(term.letters[k], size);
      else if (found->second != size)
        throw Error(term.letters[k] > kLast ? fmt::format("an axis of \"...\" has sizes {} and {}", found->second, size)
                                            : fmt::format("'{}' has sizes {} and {}",
                                                          static_cast<char>(term.letters[k]), found->second, size));
    }
}

// Without "->": the axes of "..." and, in alphabetical order, the letters that occur once.
Letters implied_output(const std::vector<Term>& terms) {
  Letters all, output;
  for (const Term& term : terms) all.insert(all.end(), term.letters.begin(), term.letters.end());
  for (const int letter : all)
    if (!has(output, letter) && (letter > kLast || std::count(all.begin(), all.end(), letter) == 1))
      output.push_back(letter);
  std::sort(output.begin(), output.end(), [](int a, int b) { return a > kLast || b > kLast ? a > b : a < b; });
  return output;
}

Letters said_output(std::string_view text, const std::vector<Term>& terms) {
  Letters dots, output;
  for (const Term& term : terms)
    for (const int letter : term.letters)
      if (letter > kLast && !has(dots, letter)) dots.push_back(letter);
  const bool all = text.find("...") != std::string_view::npos;
  output = letters_of(text, static_cast<int>(text.size() - (all ? 3 : 0) + (all ? dots.size() : 0)));
  for (const int letter : output) {
    if (std::count(output.begin(), output.end(), letter) > 1)
      throw Error(fmt::format("the output names '{}' twice", static_cast<char>(letter)));
    if (std::none_of(terms.begin(), terms.end(), [&](const Term& term) { return has(term.letters, letter); }))
      throw Error(fmt::format("the output names '{}', which no input has", static_cast<char>(letter)));
  }
  return output;
}

Tensor summed(const std::string& equation, const Tensors& inputs) {
  const std::size_t arrow = equation.find("->");
  const std::string_view all(equation);
  std::string_view left = all.substr(0, arrow);
  std::vector<Term> terms;
  const auto names = static_cast<std::size_t>(std::count(left.begin(), left.end(), ',')) + 1;
  if (names != inputs.size()) throw Error(fmt::format("{} inputs are named but {} given", names, inputs.size()));
  for (const Tensor& input : inputs) {
    const std::size_t comma = left.find(',');
    terms.push_back({input, letters_of(left.substr(0, comma), input.rank())});
    left = comma == std::string_view::npos ? std::string_view() : left.substr(comma + 1);
  }
  check_sizes(terms);
  const Letters output = arrow == std::string::npos ? implied_output(terms) : said_output(all.substr(arrow + 2), terms);
  for (Term& term : terms) take_diagonals(term);
  Term result = terms[0];
  for (std::size_t k = 1; k < terms.size(); ++k) {
    Letters needed = output;
    for (std::size_t later = k + 1; later < terms.size(); ++later)
      needed.insert(needed.end(), terms[later].letters.begin(), terms[later].letters.end());
    result = multiplied(result, terms[k], needed);
  }
  sum_unneeded(result, output);
  return in_order(result, output);
}

}  // namespace

Tensor dot(const Tensor& a, const Tensor& b) {
  return named("dot", {&a, &b}, [&] {
    check_vectors("dot", a, b);
    return matmul(a, b);
  });
}

Tensor outer(const Tensor& a, const Tensor& b) {
  return named("outer", {&a, &b}, [&] {
    check_vectors("outer", a, b);
    return expand_dims(a, 1) * b;
  });
}

Tensor tensordot(const Tensor& a, const Tensor& b, const Sizes& axes_a, const Sizes& axes_b) {
  return named("tensordot", {&a, &b}, [&] {
    const auto head = [&] { return fmt::format("tensordot({}, {}): ", a.shape().text(), b.shape().text()); };
    if (axes_a.size() != axes_b.size())
      throw Error(head() + fmt::format("{} axes of the first but {} of the second", axes_a.size(), axes_b.size()));
    const Sizes summed_a = counted(a.shape(), axes_a), summed_b = counted(b.shape(), axes_b);
    const Sizes own_a = others(a.rank(), summed_a), own_b = others(b.rank(), summed_b);
    const Sizes inner = sizes_at(a.shape(), summed_a), rows = sizes_at(a.shape(), own_a),
                columns = sizes_at(b.shape(), own_b);
    if (inner != sizes_at(b.shape(), summed_b))
      throw Error(head() + fmt::format("sizes {} of the first meet {} of the second", Shape(inner).text(),
                                       Shape(sizes_at(b.shape(), summed_b)).text()));
    const Tensor left = reshape(transpose(a, appended(own_a, summed_a)), {joined(rows), joined(inner)});
    const Tensor right = reshape(transpose(b, appended(summed_b, own_b)), {joined(inner), joined(columns)});
    return reshape(matmul(left, right), appended(rows, columns));
  });
}

Tensor tensordot(const Tensor& a, const Tensor& b, int count) {
  return named("tensordot", {&a, &b}, [&] {
    if (count < 0 || count > a.rank() || count > b.rank())
      throw Error(fmt::format("tensordot({}, {}): there are no {} axes to sum over", a.shape().text(), b.shape().text(),
                              count));
    Sizes last(static_cast<std::size_t>(count)), first = last;
    std::iota(first.begin(), first.end(), std::int64_t{0});
    std::iota(last.begin(), last.end(), std::int64_t{a.rank() - count});
    return tensordot(a, b, last, first);
  });
}

Tensor bilinear(const Tensor& a, const Tensor& b, const Tensor& kernel, const Tensor& bias) {
  return named("bilinear", {&a, &b, &kernel, &bias}, [&] {
    const auto refuse = [&](const std::string& reason) {
      throw Error(
          fmt::format("bilinear({}, {}, {}): {}", a.shape().text(), b.shape().text(), kernel.shape().text(), reason));
    };
    if (kernel.rank() != 3) refuse("the kernel must have three axes");
    if (a.rank() < 1 || b.rank() < 1) refuse("a and b must have an axis");
    const std::int64_t outputs = kernel.shape()[0], left = kernel.shape()[1], right = kernel.shape()[2];
    if (a.shape().back() != left || b.shape().back() != right)
      refuse(fmt::format("{} and {} elements do not meet {} and {}", a.shape().back(), b.shape().back(), left, right));
    if (bias.defined() && !(bias.shape() == Shape{outputs}))
      refuse(fmt::format("a bias of shape {} does not go with {} outputs", bias.shape().text(), outputs));
    const Tensor each = matmul(a, reshape(transpose(kernel, {1, 0, 2}), {left, outputs * right}));
    const Tensor rows = reshape(each, a.shape().with(-1, outputs).inserted(-1, right));
    const Tensor y = sum(rows * expand_dims(b, -2), -1);
    return bias.defined() ? y + bias : y;
  });
}

Tensor einsum(std::string_view equation, const Tensors& inputs) {
  std::string plain(equation);
  plain.erase(std::remove(plain.begin(), plain.end(), ' '), plain.end());
  try {
    return summed(plain, inputs);
  } catch (const Error& reason) {
    throw Error(fmt::format("einsum(\"{}\"): {}", equation, reason.what()));
  }
}

}  // namespace twopass
