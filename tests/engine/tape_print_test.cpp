#include "engine/tape_print.hpp"

#include <sstream>

#include "tests/engine/support.hpp"
#include "tests/engine/tiny_ops.hpp"

using namespace simsmoe;
using namespace simsmoe::testing;

namespace {

// Every kind of input: named leaf, unnamed constant, earlier node, one of several outputs, nothing.
void record_example() {
  const Variable w = leaf({1, 2}, "layer.\"w\""), constant(Tensor::zeros({2}, DType::f64));
  const Variable y = multiply(w, constant);
  const Variables pair = twice_and_thrice(y);
  record("join", {pair[1], Variable(), w}, Tensor::zeros({}, DType::f32), [](BackwardContext&) {});
}

}  // namespace

TEST_CASE("tape_print: the table") {
  Tape tape;
  record_example();
  std::ostringstream out;
  print_tape(tape, out);
  CHECK(out.str() ==
        "#  op                inputs                outputs           bytes\n"
        "0  multiply          layer.\"w\", (f64 [2])  f64 [2]              16\n"
        "1  twice_and_thrice  %0                    f64 [2], f64 [2]     32\n"
        "2  join              %1.1, -, layer.\"w\"    f32 []                4\n"
        "3 nodes, 52 bytes of outputs\n");
}

TEST_CASE("tape_print: an empty tape") {
  const Tape tape;
  std::ostringstream table, graph;
  print_tape(tape, table);
  write_graphviz(tape, graph);
  CHECK(table.str() == "#  op  inputs  outputs  bytes\n0 nodes, 0 bytes of outputs\n");
  CHECK(graph.str() == "digraph tape {\n}\n");
}

TEST_CASE("tape_print: the graph") {
  Tape tape;
  record_example();
  std::ostringstream out;
  write_graphviz(tape, out);
  CHECK(out.str() == R"dot(digraph tape {
  n0 [label="multiply\nf64 [2]"];
  leaf0 [shape=box, style=filled, label="layer.\"w\""];
  leaf0 -> n0;
  leaf1 [shape=box, label="(f64 [2])"];
  leaf1 -> n0;
  n1 [label="twice_and_thrice\nf64 [2], f64 [2]"];
  n0 -> n1;
  n2 [label="join\nf32 []"];
  n1 -> n2;
  leaf0 -> n2;
}
)dot");
}
