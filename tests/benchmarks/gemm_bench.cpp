#include <string>
#include <vector>

#include "engine/cpu/gemm.hpp"
#include "tests/benchmarks/bench.hpp"

// The products of a training step: 2048 tokens, width 256, dense inner size 1024, experts with 256 tokens and
// inner size 512; forward (x W^T), dx (dy W), dW (dy^T x).

namespace simsmoe::benchmarks {

namespace {

struct Product {
  const char* name;
  cpu::Transpose ta, tb;
  std::int64_t m, n, k;
};

constexpr auto kNone = cpu::Transpose::none, kTransposed = cpu::Transpose::transposed;
constexpr Product kProducts[] = {
    {"qkv", kNone, kTransposed, 2048, 768, 256},         {"qkv_dx", kNone, kNone, 2048, 256, 768},
    {"qkv_dW", kTransposed, kNone, 768, 256, 2048},      {"out", kNone, kTransposed, 2048, 256, 256},
    {"dense_up", kNone, kTransposed, 2048, 1024, 256},   {"dense_down", kNone, kTransposed, 2048, 256, 1024},
    {"dense_dW", kTransposed, kNone, 1024, 256, 2048},   {"expert_up", kNone, kTransposed, 256, 512, 256},
    {"expert_down", kNone, kTransposed, 256, 256, 512},  {"expert_down_dx", kNone, kNone, 256, 512, 256},
    {"expert_up_dW", kTransposed, kNone, 512, 256, 256}, {"gate", kNone, kTransposed, 2048, 16, 256},
    {"attention_tile", kNone, kTransposed, 64, 128, 64}, {"one_token", kNone, kTransposed, 1, 768, 256},
};

void run_gemm(benchmark::State& state, const Product& p, cpu::GemmLibrary library) {
  const cpu::GemmLibrary before = cpu::gemm_library();
  cpu::set_gemm_library(library);
  const bool at = p.ta == kTransposed, bt = p.tb == kTransposed;
  const Tensor a = random(at ? Shape{p.k, p.m} : Shape{p.m, p.k}),
               b = random(bt ? Shape{p.n, p.k} : Shape{p.k, p.n});
  const Tensor c = Tensor::empty({p.m, p.n}, DType::f32);
  for ([[maybe_unused]] const auto _ : state) {
    cpu::gemm(p.ta, p.tb, p.m, p.n, p.k, a.data<float>(), a.size(1), b.data<float>(), b.size(1),
              c.data<float>(), p.n, false);
    benchmark::ClobberMemory();
  }
  report_flops(state, 2.0 * static_cast<double>(p.m * p.n * p.k));
  cpu::set_gemm_library(before);
}

}  // namespace

void register_gemm() {
  std::vector<cpu::GemmLibrary> libraries = {cpu::GemmLibrary::eigen};
  if (cpu::gemm_library() != cpu::GemmLibrary::eigen) libraries.push_back(cpu::gemm_library());
  for (const Product& p : kProducts)
    for (const cpu::GemmLibrary library : libraries) {
      const std::string name = fmt::format("gemm/{}/{}", p.name, cpu::name_of(library));
      benchmark::RegisterBenchmark(name.c_str(),
                                   [&p, library](benchmark::State& s) { run_gemm(s, p, library); });
    }
}

}  // namespace simsmoe::benchmarks
