#pragma once
// What the micro-benchmarks share: inputs, and rates as counters.

#include <benchmark/benchmark.h>

#include "engine/tensor.hpp"

namespace simsmoe::benchmarks {

// Uniform in [-1, 1], the same in every run.
Tensor random(Shape shape, DType dtype = DType::f32);

// GFLOP/s, and their fraction of what the processor can do on the threads in use.
void report_flops(benchmark::State& state, double flops_per_iteration);
void report_bytes(benchmark::State& state, double bytes_per_iteration);

void register_gemm();
void register_ops();

}  // namespace simsmoe::benchmarks
