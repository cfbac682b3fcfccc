#pragma once
// The plain layers: structs whose members are their parameters, made through a Scope, called with a context.
// Mixed precision happens only here: maps compute in the context's dtype, norms in their parameters' (f32).

#include <variant>

#include "nn/context.hpp"
#include "nn/fields.hpp"
#include "nn/init.hpp"
#include "nn/scope.hpp"

namespace simsmoe::nn {

// What a part of a model holds and costs.
struct Account {
  std::int64_t parameters = 0;         // all, frozen ones included
  std::int64_t active_parameters = 0;  // those that one token uses
  double flops_per_token = 0.0;        // forward pass, multiply and add counted as two

  Account& operator+=(const Account& other);
};

// What a map with this weight computes in: ctx.compute_dtype, except that an f64 model stays f64.
DType compute_dtype(const Variable& weight, const ForwardContext& ctx);
// x itself when it has the dtype, else a differentiable cast. An undefined x stays undefined.
Variable to_dtype(const Variable& x, DType dtype);

struct LinearOptions {
  bool bias = true;
  double init_std = 0.0;  // weight N(0, init_std^2) and bias 0; 0: both U(+-1/sqrt(in))
  bool trainable = true;
};

// y = x W^T + b. The result has the compute dtype of the context.
struct Linear {
  Linear(const Scope& scope, std::int64_t in, std::int64_t out, LinearOptions options = {});
  // A map with given parameters: an output layer that shares the token embedding.
  Linear(Variable weight_, Variable bias_) : weight(std::move(weight_)), bias(std::move(bias_)) {}

  Variable operator()(const Variable& x, const ForwardContext& ctx) const;  // x: [..., in] -> [..., out]
  Account account() const;

  Variable weight, bias;  // [out, in]; [out] or undefined
};

// y = weight[ids]. Not subject to weight decay.
struct Embedding {
  Embedding(const Scope& scope, std::int64_t vocab, std::int64_t dim, double init_std);

  Variable operator()(const Tensor& ids) const;  // ids: i32 or i64 [...] -> [..., D]
  Account account() const;

  Variable weight;  // [V, D]
};

struct LayerNorm {
  LayerNorm(const Scope& scope, std::int64_t dim);

  Variable operator()(const Variable& x) const;  // x: [..., D] -> [..., D]

  Variable weight, bias;  // [D]
};

struct RmsNorm {
  RmsNorm(const Scope& scope, std::int64_t dim);

  Variable operator()(const Variable& x) const;  // x: [..., D] -> [..., D]

  Variable weight;  // [D]
};

enum class NormKind : unsigned char { layer_norm, rms_norm };
constexpr auto enum_names(NormKind) { return std::to_array<std::string_view>({"layer_norm", "rms_norm"}); }

// The one of the two that the configuration asks for.
class Norm {
 public:
  Norm(const Scope& scope, std::int64_t dim, NormKind kind);

  Variable operator()(const Variable& x) const;  // x: [..., D] -> [..., D]
  Account account() const;

 private:
  std::variant<LayerNorm, RmsNorm> norm_;
};

// While training each element is zeroed with probability p and the others divided by 1 - p; else x itself.
// `key` comes from the scope of the layer: key("dropout"). x: [..., n] with at most `rows_per_token` rows of n for each
// token of the pass, so that no other part of the batch draws the same numbers.
Variable dropout(const Variable& x, double p, RandomKey key, const ForwardContext& ctx,
                 std::int64_t rows_per_token = 1);

}  // namespace simsmoe::nn
