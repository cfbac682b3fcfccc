#include <map>

#include "engine/cpu/peak.hpp"
#include "engine/parallel_for.hpp"
#include "engine/philox.hpp"
#include "tests/benchmarks/bench.hpp"

// Rates are per second of processor time of the calling thread: on a busy machine they say more than wall
// time. OMP_NUM_THREADS sets the threads.

namespace simsmoe::benchmarks {

Tensor random(Shape shape, DType dtype) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = 2.0f * random_uniform(RandomKey{1, stream_of("bench")}, 0, i) - 1.0f;
  return Tensor::from(values, shape).to(dtype);
}

void report_flops(benchmark::State& state, double flops_per_iteration) {
  static std::map<int, double> peaks;
  const int threads = num_threads();
  if (!peaks.contains(threads)) peaks[threads] = 1e9 * cpu::measure_peak_gflops(threads);
  const double flops = flops_per_iteration * static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(flops / 1e9, benchmark::Counter::kIsRate);
  state.counters["of_peak"] = benchmark::Counter(flops / peaks[threads], benchmark::Counter::kIsRate);
}

void report_bytes(benchmark::State& state, double bytes_per_iteration) {
  const double bytes = bytes_per_iteration * static_cast<double>(state.iterations());
  state.counters["GB/s"] = benchmark::Counter(bytes / 1e9, benchmark::Counter::kIsRate);
}

}  // namespace simsmoe::benchmarks

int main(int argc, char** argv) {
  simsmoe::benchmarks::register_gemm();
  simsmoe::benchmarks::register_ops();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
