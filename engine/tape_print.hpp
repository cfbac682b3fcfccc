#pragma once
// A tape for readers: call these before backward(), which empties the tape.

#include <iosfwd>

#include "engine/tape.hpp"

namespace simsmoe {

// One row per recorded node: its number, op, inputs, outputs and their bytes. An input is shown as %N (node
// N), %N.i (output i of a node with several), the name of a leaf, (its description) when it has none, or "-"
// for an optional argument that was not given.
void print_tape(const Tape& tape, std::ostream& out);

// The same graph in the language of Graphviz: ellipses are nodes, boxes leaves, filled when they receive a
// gradient. `dot -Tsvg` draws it.
void write_graphviz(const Tape& tape, std::ostream& out);

}  // namespace simsmoe
