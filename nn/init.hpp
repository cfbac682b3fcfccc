#pragma once
// How new parameters are filled. Every initialiser draws on the host in f64 from the parameter's own random
// stream and rounds once to the parameter's dtype: the same seed gives the same bits on every device, and
// adding a layer changes no other. Defaults: maps U(+-1/sqrt(fan_in)), biases of norms 0, their weights 1.

#include "nn/scope.hpp"

namespace simsmoe::nn::init {

Init constant(double value);
Init zeros();
Init ones();
Init normal(double std);                    // N(0, std^2)
Init uniform(double bound);                 // U[-bound, bound)
Init kaiming_uniform(std::int64_t fan_in);  // U(+-1/sqrt(fan_in)): a linear map keeps the scale of its input
// Rows of [rows, columns] (leading axes flattened into the rows) orthonormal times gain; the columns instead
// when there are fewer of them. Gram-Schmidt on normal draws (Saxe et al. 2014).
Init orthogonal(double gain);

// N(0, std^2) when std > 0, else kaiming_uniform(fan_in): the two conventions that models choose between.
Init linear(std::int64_t fan_in, double std);
// std / sqrt(sublayers): outputs that add up in a residual stream start with variance std^2 in all (GPT-2).
double residual_std(double std, std::int64_t sublayers);

}  // namespace simsmoe::nn::init
