#include "engine/tape_print.hpp"

#include <algorithm>
#include <ostream>
#include <unordered_map>

namespace simsmoe {

namespace {

// Where each Variable of a tape comes from.
class Origins {
 public:
  explicit Origins(const Tape& tape) {
    for (std::size_t n = 0; n < tape.nodes().size(); ++n) {
      const Variables& outputs = tape.nodes()[n].outputs;
      for (std::size_t i = 0; i < outputs.size(); ++i)
        origins_.emplace(outputs[i].id(), Origin{n, outputs.size() == 1 ? "" : fmt::format(".{}", i)});
    }
  }

  bool is_leaf(const Variable& v) const { return !origins_.contains(v.id()); }
  std::size_t node(const Variable& v) const { return origins_.at(v.id()).node; }
  std::string label(const Variable& v) const {
    if (!v.defined()) return "-";
    if (is_leaf(v)) return v.name().empty() ? fmt::format("({})", describe(v.value())) : v.name();
    const Origin& origin = origins_.at(v.id());
    return fmt::format("%{}{}", origin.node, origin.suffix);
  }

 private:
  struct Origin {
    std::size_t node;
    std::string suffix;
  };
  std::unordered_map<const void*, Origin> origins_;
};

template <class F>
std::string join(const Variables& variables, const F& text_of) {
  std::string text;
  for (const Variable& v : variables) text += (text.empty() ? "" : ", ") + text_of(v);
  return text;
}

std::string describe_outputs(const Node& node) {
  return join(node.outputs, [](const Variable& v) { return describe(v.value()); });
}

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

}  // namespace

void print_tape(const Tape& tape, std::ostream& out) {
  const Origins origins(tape);
  struct Row {
    std::string number, op, inputs, outputs, bytes;
  };
  std::vector<Row> rows{{"#", "op", "inputs", "outputs", "bytes"}};
  std::size_t total = 0;
  for (const Node& node : tape.nodes()) {
    std::size_t bytes = 0;
    for (const Variable& output : node.outputs) bytes += output.value().bytes();
    total += bytes;
    rows.push_back({std::to_string(rows.size() - 1), std::string(node.op),
                    join(node.inputs, [&](const Variable& v) { return origins.label(v); }),
                    describe_outputs(node), std::to_string(bytes)});
  }
  const auto width = [&](std::string Row::*column) {
    std::size_t widest = 0;
    for (const Row& row : rows) widest = std::max(widest, (row.*column).size());
    return widest;
  };
  const std::size_t number = width(&Row::number), op = width(&Row::op), inputs = width(&Row::inputs),
                    outputs = width(&Row::outputs), bytes = width(&Row::bytes);
  for (const Row& row : rows)
    out << fmt::format("{:>{}}  {:<{}}  {:<{}}  {:<{}}  {:>{}}\n", row.number, number, row.op, op, row.inputs,
                       inputs, row.outputs, outputs, row.bytes, bytes);
  out << fmt::format("{} nodes, {} bytes of outputs\n", tape.nodes().size(), total);
}

void write_graphviz(const Tape& tape, std::ostream& out) {
  const Origins origins(tape);
  std::unordered_map<const void*, std::size_t> leaves;  // in the order of their first use
  out << "digraph tape {\n";
  for (std::size_t n = 0; n < tape.nodes().size(); ++n) {
    const Node& node = tape.nodes()[n];
    out << fmt::format("  n{} [label=\"{}\\n{}\"];\n", n, escaped(node.op), describe_outputs(node));
    for (const Variable& input : node.inputs) {
      if (!input.defined()) continue;
      if (!origins.is_leaf(input)) {
        out << fmt::format("  n{} -> n{};\n", origins.node(input), n);
        continue;
      }
      const auto [leaf, is_new] = leaves.emplace(input.id(), leaves.size());
      if (is_new)
        out << fmt::format("  leaf{} [shape=box{}, label=\"{}\"];\n", leaf->second,
                           input.requires_grad() ? ", style=filled" : "", escaped(origins.label(input)));
      out << fmt::format("  leaf{} -> n{};\n", leaf->second, n);
    }
  }
  out << "}\n";
}

}  // namespace simsmoe
