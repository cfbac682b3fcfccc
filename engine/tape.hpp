#pragma once
// Reverse-mode differentiation with a tape. A Variable is a Tensor with a history; the Tape is the vector of
// what was computed since it was created; backward() walks it from the end to the beginning.
//
//   Tape tape;                                   // recording starts
//   Variable loss = ops::mean(ops::square(x));
//   tape.backward(loss);                         // x.grad() is now defined; the tape is spent
//
// Rules (each has a test in tests/engine/tape_test.cpp):
//  1. A backward closure captures Tensors, never Variables, and calls kernels, never ops: references form
//     no cycles, nothing is recorded during backward, and the capture list is the saved set.
//  2. One kernel call per target(i). When one Variable is passed twice, the second call accumulates. A fused
//     kernel with several targets is allowed only after the op has checked that its inputs are distinct.
//  3. Creation order is topological order; nodes whose outputs received no gradient are skipped.
//  4. Gradients of intermediate Variables are dropped as soon as their node has run; gradients of leaves stay
//     until clear_grad(), and further backward passes add to them.
//  5. A tape is single-use. Second derivatives are not supported.
//  6. There are no in-place ops on Variables. Optimizers change parameter Tensors through kernels, after
//     backward has emptied the tape.
//  7. Recomputation (activation checkpointing) is an op whose closure opens an inner Tape: ops/recompute.hpp.
//  8. A Variable computed on one tape cannot be an input on another, where the gradient would silently stop:
//     detach() it.
//  9. What a closure has captured does not change before backward. Debug builds check it by the versions of the
//     tensors (Tensor::version) and name the op.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.hpp"

namespace simsmoe {

class Variable;
class BackwardContext;
using Variables = std::vector<Variable>;
using BackwardFn = std::function<void(BackwardContext&)>;

// A shared handle to a value, its gradient and its name. Copies refer to the same Variable.
class Variable {
 public:
  Variable() = default;  // undefined; used for optional arguments such as a missing bias
  explicit Variable(Tensor value, bool requires_grad = false, std::string name = {});

  bool defined() const { return state_ != nullptr; }
  const Tensor& value() const;
  const Tensor& grad() const;  // undefined until a gradient has arrived
  bool requires_grad() const;
  const std::string& name() const;

  const Shape& shape() const { return value().shape(); }
  std::int64_t size(int axis) const { return value().size(axis); }
  int rank() const { return value().rank(); }
  DType dtype() const { return value().dtype(); }
  Device device() const { return value().device(); }

  Variable detach() const;  // the same memory without history: no gradient flows through it
  void clear_grad() const;  // releases the gradient
  // Replaces the gradient of a leaf by a copy, for clipping and accumulation by hand; shape, dtype and device of value().
  void set_grad(const Tensor& grad) const;
  // The same without a copy: backward adds into this very memory, which belongs to the leaf from now on.
  void share_grad(Tensor grad) const;
  // Replaces the value of a leaf while nothing is recorded from it, for loading: shape, dtype and device of the one
  // before. The memory is shared with the caller, as by the constructor.
  void set_value(Tensor value) const;
  void set_requires_grad(bool on) const;  // of a leaf

  bool same_as(const Variable& other) const { return state_ == other.state_; }
  const void* id() const { return state_.get(); }  // tells Variables apart while they live

 private:
  friend class Tape;
  friend class BackwardContext;
  friend Variables record(std::string_view, Variables, std::vector<Tensor>, BackwardFn);
  struct State;
  explicit Variable(std::shared_ptr<State> state) : state_(std::move(state)) {}
  State& state() const;
  std::shared_ptr<State> state_;
};

// Where a backward kernel writes. accumulate == false: the buffer holds garbage, overwrite all of it;
// accumulate == true: add to it.
struct GradTarget {
  Tensor buffer;
  bool accumulate = false;
};

struct Node;

// What a backward closure sees of its node.
class BackwardContext {
 public:
  explicit BackwardContext(Node& node) : node_(node) {}
  const Tensor& grad_output(int output = 0);  // zeros are materialised if that output was unused
  bool wants(int input) const;                // does this input need a gradient at all?
  GradTarget target(int input);  // allocates on first use, accumulates afterwards; throws if !wants(input)

 private:
  const Variable& pick(const Variables& variables, int i, std::string_view what) const;
  Node& node_;
};

struct Node {
  std::string_view op;
  Variables inputs;  // undefined entries are allowed: optional arguments keep their position
  Variables outputs;
  BackwardFn backward;
  std::vector<SavedTensor> saved;  // what `backward` has captured, in debug builds; else empty
};

// The tapes and pauses of a thread that are alive, the innermost first: that one decides whether ops are recorded. They
// may end in any order, each on the thread that it began on.
class Recorder {
 public:
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  bool records() const { return records_; }  // a Tape; else a TapePause

 protected:
  explicit Recorder(bool records);  // becomes the innermost
  ~Recorder();                      // leaves the list, wherever it stands

 private:
  bool records_;
  Recorder* outer_;
};

class Tape : public Recorder {
 public:
  Tape();  // starts recording on this thread; its end stops it and frees everything

  void backward(const Variable& loss);                 // loss must have one element; its gradient is 1
  void backward(const Variable& y, const Tensor& dy);  // dy has the shape and dtype of y
  // Of sum_i y_i . dy_i. A y_i is a result of this tape or a leaf that requires a gradient, to which its dy_i is added:
  // an op may return its input. dy_i is only read.
  void backward(const Variables& ys, const std::vector<Tensor>& dys);
  // Calls `visit` for every node after its backward closure ran and before its gradients are dropped: finds
  // where the first non-finite value appears.
  void set_observer(std::function<void(const Node&)> visit) { observer_ = std::move(visit); }

  const std::vector<Node>& nodes() const { return nodes_; }
  static Tape* current();  // the recording tape of this thread, or nullptr

 private:
  friend Variables record(std::string_view, Variables, std::vector<Tensor>, BackwardFn);
  std::vector<Node> nodes_;
  std::function<void(const Node&)> observer_;
  std::uint64_t id_;
  bool spent_ = false;
};

// While it lives nothing is recorded on this thread, though a tape may be alive: for values whose history is of no use.
class TapePause : public Recorder {
 public:
  TapePause() : Recorder(false) {}

  // Whether an op would have been recorded, because it read something that requires a gradient.
  bool missed() const { return missed_; }

 private:
  friend Variables record(std::string_view, Variables, std::vector<Tensor>, BackwardFn);
  bool missed_ = false;
};

// Ends an op: wraps its outputs in Variables and, while a tape records and some input requires a gradient,
// remembers how to go back. `op` must outlive the tape (a literal). Without a tape nothing is kept.
Variables record(std::string_view op, Variables inputs, std::vector<Tensor> outputs, BackwardFn backward);
Variable record(std::string_view op, Variables inputs, Tensor output, BackwardFn backward);

// Every op name recorded since the program began, sorted: the test suite demands a case for each.
std::vector<std::string> recorded_ops();

}  // namespace simsmoe
