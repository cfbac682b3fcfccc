#pragma once
// What the arithmetic units can do: the denominator of every statement about speed.

namespace simsmoe::cpu {

// The highest rate of f32 fused multiply-adds (each counted as two operations) that `threads` threads reach
// on registers alone, in GFLOP/s: the best of ten short measurements.
double measure_peak_gflops(int threads);

}  // namespace simsmoe::cpu
