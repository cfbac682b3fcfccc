#pragma once
// What the tests of this folder share: numbers drawn by name, and a small layer to try things on.

#include <string_view>
#include <vector>

#include "engine/philox.hpp"
#include "moe/moe_layer.hpp"

namespace simsmoe::moe {

// Uniform in [-bound, bound), a function of the name.
inline Tensor draw(const Shape& shape, std::string_view name, double bound = 1.0, DType dtype = DType::f64) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  const RandomKey key{7, stream_of(name)};
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = bound * (2.0 * static_cast<double>(random_uniform(key, 0, i)) - 1.0);
  return Tensor::from(values, shape).to(dtype);
}

inline MoeOptions small_options() {
  MoeOptions options;
  options.experts = 4;
  options.hidden = 6;
  options.bias = true;
  options.router_bias = true;
  return options;
}

// Where a layer of the tests stands: width D = 5, 50 words, 100 steps.
inline constexpr nn::Site kSite{.dim = 5, .vocab = 50, .steps = 100};

// A layer with its store. Biases start at 0, which would hide mistakes: they are drawn anew.
struct SmallLayer {
  explicit SmallLayer(const MoeOptions& options, DType dtype = DType::f64, const nn::Site& site = kSite)
      : store(3, dtype), layer(nn::Scope(store, "moe"), options, site) {
    for (const nn::Parameter& parameter : store.parameters())
      if (parameter.variable.name().find("bias") != std::string::npos)
        parameter.variable.set_value(draw(parameter.variable.shape(), parameter.variable.name(), 0.5, dtype));
  }
  Variable parameter(std::string_view name) const { return store.find(name)->variable; }
  Variables parameters() const {
    Variables all;
    for (const nn::Parameter& parameter : store.parameters()) all.push_back(parameter.variable);
    return all;
  }

  static constexpr std::int64_t kDim = kSite.dim;
  nn::ParameterStore store;
  MoeLayer layer;
};

inline nn::ForwardContext training_context() {
  nn::ForwardContext ctx;
  ctx.training = true;
  return ctx;
}

}  // namespace simsmoe::moe
