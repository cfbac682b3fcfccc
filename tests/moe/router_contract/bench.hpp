#pragma once
// A layer with the router under test, tokens for it, and one training or evaluation pass. For the clauses.

#include <stdexcept>

#include "moe/moe_layer.hpp"
#include "nn/optimizer.hpp"
#include "tests/moe/router_contract/contract.hpp"

namespace simsmoe::testing {

// A clause that finds its promise broken.
struct Breach : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Args>
void expect(bool holds, fmt::format_string<Args...> format, Args&&... args) {
  if (!holds) throw Breach(fmt::format(format, std::forward<Args>(args)...));
}

enum class Mode : unsigned char { training, evaluation };
inline constexpr Mode kModes[] = {Mode::training, Mode::evaluation};
std::string_view name_of(Mode mode);

struct Tokens {
  Variable x;  // [1, N, D]
  Tensor ids;  // i32 [N]; undefined without a vocabulary
  std::int64_t count() const { return x.size(1); }
};

// Uniform in [-1, 1), a function of the name.
Tensor drawn(const Shape& shape, std::string_view name, DType dtype);

struct Pass {
  Variable y;
  moe::RouterOutput route;
  nn::ForwardContext ctx;

  std::vector<std::int64_t> experts() const { return route.experts.to_vector<std::int64_t>(); }
  std::vector<double> weights() const { return route.weights.value().to_vector<double>(); }
  const nn::LossTerm* loss(std::string_view name) const;  // nullptr: not added
};

// Parameters and buffers as they were.
using Snapshot = std::vector<NamedTensor>;

class Bench {
 public:
  // Parameters that start at 0 are drawn anew: zeros hide mistakes.
  explicit Bench(const Promise& promise, DType dtype = DType::f64);
  // Adopts what another one has saved.
  Bench(const Promise& promise, const Snapshot& saved);

  Tokens tokens(std::int64_t count, std::string_view name = "tokens") const;
  Tokens tokens() const { return tokens(9); }
  Tokens picked(const Tokens& tokens, const std::vector<std::int64_t>& rows) const;
  Tokens scaled(const Tokens& tokens, double factor) const;

  Pass run(const Tokens& tokens, Mode mode, std::uint64_t draw = 0) const {
    return run(tokens, context(mode, draw));
  }
  Pass run(const Tokens& tokens, nn::ForwardContext ctx) const;
  nn::ForwardContext context(Mode mode, std::uint64_t draw = 0) const;

  // A training pass from which the router learns what it learns without a gradient.
  void learn(const Tokens& tokens) const;

  // sum(y * a fixed direction), so that each output matters differently.
  Variable task(const Pass& pass) const;
  // task + all weighted losses
  Variable objective(const Pass& pass) const;
  // Forward, backward, what is learned without a gradient, one step of AdamW; `number` is that of the step in this
  // training.
  void train(nn::Optimizer& optimizer, const Tokens& tokens, std::uint64_t number) const;
  std::unique_ptr<nn::Optimizer> optimizer() const { return nn::make_optimizer(store, {}); }

  std::vector<nn::Parameter> router_parameters() const;
  std::string short_name(const nn::Parameter& parameter) const;  // below the router

  Snapshot snapshot() const;
  // The first name that differs, by one bit; empty: none. `among` is a part of the name.
  std::string difference(const Snapshot& saved, std::string_view among = {}) const;

  moe::MoeLayer& layer() const { return *layer_; }

  const Promise& promise;
  nn::ParameterStore store;

 private:
  Bench(const Promise& promise, DType dtype, const Snapshot* saved);
  moe::MoeOptions observed(moe::MoeOptions options);

  std::shared_ptr<moe::RouterOutput> last_route_;
  std::unique_ptr<moe::MoeLayer> layer_;
};

bool contains(const std::vector<std::string>& names, std::string_view name);
// Of the value; an undefined one has nothing that is not finite.
bool finite(const Variable& value);
bool all_zero(const Tensor& tensor);

}  // namespace simsmoe::testing
