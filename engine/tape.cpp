#include "engine/tape.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <utility>

#include "engine/convert.hpp"
#include "engine/profile.hpp"

namespace simsmoe {

struct Variable::State {
  Tensor value;
  Tensor grad;
  std::string name;
  bool requires_grad = false;
  bool borrowed = false;   // grad is memory of the caller of backward, to be copied before it is added to
  std::uint64_t tape = 0;  // the tape that computed it; 0 for a leaf

  // The gradient that has arrived, in memory that may be written to.
  const Tensor& own_grad() {
    if (std::exchange(borrowed, false)) grad = grad.clone();
    return grad;
  }
  // One that backward is given. A leaf keeps it, so it is copied at once; that of a result is gone at the end.
  void add_grad(const Tensor& dy) {
    if (grad.defined()) {
      own_grad().note_change();
      SMX_DISPATCH(add_into, dy.device(), dy, grad);
    } else {
      borrowed = tape != 0;
      grad = borrowed ? dy : dy.clone();
    }
  }
};

namespace {

thread_local Recorder* innermost = nullptr;
std::atomic<std::uint64_t> next_tape_id{1};

struct OpNames {
  std::mutex mutex;
  std::set<std::string, std::less<>> names;

  void insert(std::string_view op) {
    const std::lock_guard lock(mutex);
    if (!names.contains(op)) names.emplace(op);
  }
};

// One may stand where the other did.
bool alike(const Tensor& a, const Tensor& b) {
  return a.defined() && a.shape() == b.shape() && a.dtype() == b.dtype() && a.device() == b.device();
}

OpNames& op_names() {
  static OpNames names;
  return names;
}

#ifdef NDEBUG
std::vector<SavedTensor> captured_by(const BackwardFn& /*backward*/) { return {}; }
void check_unchanged(const Node& /*node*/) {}
#else
// The tensors within the closure, found by copying it.
std::vector<SavedTensor> captured_by(const BackwardFn& backward) {
  struct Listening {
    std::vector<SavedTensor>* outer;
    ~Listening() { detail::copied_tensors = outer; }
  };
  std::vector<SavedTensor> saved;
  const Listening listening{std::exchange(detail::copied_tensors, &saved)};
  const BackwardFn copy = backward;
  return saved;
}

void check_unchanged(const Node& node) {
  for (const SavedTensor& tensor : node.saved)
    SMX_CHECK(tensor.storage->version() == tensor.version,
              "[{}] a tensor kept for backward, {} {}, was changed after the op ran", node.op,
              name_of(tensor.dtype), tensor.shape);
}
#endif

}  // namespace

Variable::Variable(Tensor value, bool requires_grad, std::string name) : state_(std::make_shared<State>()) {
  SMX_CHECK(value.defined(), "[variable] '{}' has no value", name);
  SMX_CHECK(!requires_grad || is_float(value.dtype()), "[variable] '{}' is {}: only floats have gradients",
            name, describe(value));
  state_->value = std::move(value);
  state_->name = std::move(name);
  state_->requires_grad = requires_grad;
}

Variable::State& Variable::state() const {
  SMX_CHECK(state_ != nullptr, "[variable] undefined variable");
  return *state_;
}

const Tensor& Variable::value() const { return state().value; }
const Tensor& Variable::grad() const { return state().grad; }
bool Variable::requires_grad() const { return state().requires_grad; }
const std::string& Variable::name() const { return state().name; }
Variable Variable::detach() const { return Variable(value()); }
void Variable::clear_grad() const {
  state().grad = {};
  state().borrowed = false;
}

void Variable::set_grad(const Tensor& grad) const { share_grad(grad.defined() ? grad.clone() : grad); }

void Variable::share_grad(Tensor grad) const {
  SMX_CHECK(state().tape == 0 && alike(grad, value()), "[variable] gradient {} of {} '{}'", describe(grad),
            describe(value()), name());
  state().grad = std::move(grad);
}

void Variable::set_value(Tensor value) const {
  SMX_CHECK(state().tape == 0 && alike(value, state().value), "[variable] value {} for {} '{}'",
            describe(value), describe(state().value), name());
  state().value = std::move(value);
}

void Variable::set_requires_grad(bool on) const {
  SMX_CHECK(state().tape == 0, "[variable] set_requires_grad on the result of an op");
  SMX_CHECK(!on || is_float(dtype()), "[variable] '{}' is {}: only floats have gradients", name(),
            describe(value()));
  state().requires_grad = on;
}

const Variable& BackwardContext::pick(const Variables& variables, int i, std::string_view what) const {
  SMX_CHECK(0 <= i && i < static_cast<int>(variables.size()), "[{}] backward asked for {} {} of {}", node_.op,
            what, i, variables.size());
  return variables[static_cast<std::size_t>(i)];
}

const Tensor& BackwardContext::grad_output(int output) {
  const Variable& y = pick(node_.outputs, output, "output");
  if (!y.grad().defined()) y.state().grad = Tensor::zeros_like(y.value());
  return y.grad();
}

bool BackwardContext::wants(int input) const {
  const Variable& x = pick(node_.inputs, input, "input");
  return x.defined() && x.requires_grad();
}

GradTarget BackwardContext::target(int input) {
  SMX_CHECK(wants(input), "[{}] backward asked for the gradient of input {}, which needs none", node_.op,
            input);
  const Variable& x = node_.inputs[static_cast<std::size_t>(input)];
  const bool accumulate = x.grad().defined();
  if (accumulate)
    x.state().own_grad().note_change();
  else
    x.state().grad = Tensor::empty_like(x.value());
  return {x.grad(), accumulate};
}

Recorder::Recorder(bool records) : records_(records), outer_(innermost) { innermost = this; }

Recorder::~Recorder() {
  Recorder** at = &innermost;
  while (*at != nullptr && *at != this) at = &(*at)->outer_;
  if (*at == this) *at = outer_;
}

Tape::Tape() : Recorder(true), id_(next_tape_id++) {}

Tape* Tape::current() {
  return innermost != nullptr && innermost->records() ? static_cast<Tape*>(innermost) : nullptr;
}

void Tape::backward(const Variable& loss) {
  SMX_CHECK(loss.value().numel() == 1, "[backward] the loss must have one element, got {}",
            describe(loss.value()));
  backward(loss, Tensor::full(loss.shape(), 1.0, loss.dtype(), loss.device()));
}

void Tape::backward(const Variable& y, const Tensor& dy) { backward(Variables{y}, std::vector<Tensor>{dy}); }

void Tape::backward(const Variables& ys, const std::vector<Tensor>& dys) {
  SMX_CHECK(!spent_,
            "[backward] this tape has already run backward: a tape is single-use, and second derivatives "
            "are not supported");
  SMX_CHECK(ys.size() == dys.size() && !ys.empty(), "[backward] {} gradients for {} results", dys.size(),
            ys.size());
  for (std::size_t i = 0; i < ys.size(); ++i) {
    const bool leaf = ys[i].state().tape == 0;
    SMX_CHECK(leaf ? ys[i].requires_grad() : ys[i].state().tape == id_,
              "[backward] the loss depends on no Variable that requires a gradient, or was not computed on "
              "this tape");
    SMX_CHECK(alike(dys[i], ys[i].value()), "[backward] gradient {} for a result {}", describe(dys[i]),
              describe(ys[i].value()));
  }
  for (std::size_t i = 0; i < ys.size(); ++i) ys[i].state().add_grad(dys[i]);
  spent_ = true;
  while (!nodes_.empty()) {
    Node node = std::move(nodes_.back());  // its saved tensors are freed at the end of this turn
    nodes_.pop_back();
    const bool reached =
        std::ranges::any_of(node.outputs, [](const Variable& output) { return output.grad().defined(); });
    if (reached) {
      check_unchanged(node);
      const profile::Scope scope(node.op, profile::Phase::backward);
      BackwardContext context(node);
      node.backward(context);
      if (observer_) observer_(node);
    }
    for (const Variable& output : node.outputs) output.clear_grad();
  }
}

Variables record(std::string_view op, Variables inputs, std::vector<Tensor> outputs, BackwardFn backward) {
  Tape* tape = Tape::current();
  const bool needed = innermost != nullptr && std::ranges::any_of(inputs, [](const Variable& input) {
                        return input.defined() && input.requires_grad();
                      });
  Variables results;
  results.reserve(outputs.size());
  for (Tensor& output : outputs) results.emplace_back(std::move(output));
  if (!needed) return results;
  if (tape == nullptr) {
    static_cast<TapePause*>(innermost)->missed_ = true;
    return results;
  }

  SMX_CHECK(!tape->spent_, "[{}] recorded on a tape that has already run backward", op);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) continue;
    const std::uint64_t origin = inputs[i].state().tape;
    SMX_CHECK(origin == 0 || origin == tape->id_,
              "[{}] input {} was computed on another tape, where no gradient would arrive: detach() it", op,
              i);
  }
  for (const Variable& result : results) {
    SMX_CHECK(is_float(result.dtype()), "[{}] recorded an output of dtype {}: only floats are differentiable",
              op, name_of(result.dtype()));
    result.state().requires_grad = true;
    result.state().tape = tape->id_;
  }
  op_names().insert(op);
  std::vector<SavedTensor> saved = captured_by(backward);
  tape->nodes_.push_back({op, std::move(inputs), results, std::move(backward), std::move(saved)});
  return results;
}

Variable record(std::string_view op, Variables inputs, Tensor output, BackwardFn backward) {
  std::vector<Tensor> outputs;
  outputs.push_back(std::move(output));
  return record(op, std::move(inputs), std::move(outputs), std::move(backward)).front();
}

std::vector<std::string> recorded_ops() {
  const std::lock_guard lock(op_names().mutex);
  return {op_names().names.begin(), op_names().names.end()};
}

}  // namespace simsmoe
