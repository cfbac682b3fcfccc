// bench [CONFIG.toml ...] [--threads 1,2] [--steps N] [--torch PYTHON]: training speed, the fraction of the
// machine's peak that it reaches, and PyTorch on the same shapes in the same run, in turn (A B A B).

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "apps/commands/command_line.hpp"
#include "apps/model_factory.hpp"
#include "engine/cpu/peak.hpp"
#include "engine/parallel_for.hpp"
#include "ops/binary.hpp"

namespace simsmoe::app {

namespace {

constexpr int kRounds = 2;       // of us and the peer in turn
constexpr int kWarmUpSteps = 2;  // fill the allocator's cache
constexpr std::int64_t kVocab = 256;
constexpr const char* kPeer = "tests/benchmarks/torch_peer.py";

struct Speed {
  double per_second = 0.0;      // tokens per second of wall time
  double per_cpu_second = 0.0;  // and of processor time: survives a busy machine
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Tensor random_tokens(const TrainConfig& train, std::uint64_t step, std::string_view name) {
  const Tensor tokens = Tensor::empty({train.batch, train.seq}, DType::i32);
  std::uint64_t i = 0;
  for (std::int32_t& token : tokens.host<std::int32_t>())
    token = static_cast<std::int32_t>(random_bits({1, stream_of(name)}, step, i++) % kVocab);
  return tokens;
}

// Training steps on random text: forward, backward, update, as in torch_peer.py.
Speed measure(const Config& config, int steps) {
  const Model model(config, kVocab, kCpu);
  const auto optimizer = nn::make_optimizer(model.store, config.train);
  std::vector<double> wall, cpu;
  for (int step = 0; step < kWarmUpSteps + steps; ++step) {
    const Tensor tokens = random_tokens(config.train, static_cast<std::uint64_t>(step), "tokens");
    const Tensor targets = random_tokens(config.train, static_cast<std::uint64_t>(step), "targets");
    const auto start = std::chrono::steady_clock::now();
    const double cpu_start = cpu_seconds();
    {
      Tape tape;
      nn::ForwardContext ctx;
      ctx.training = true;
      ctx.step = ctx.draw = static_cast<std::uint64_t>(step);
      Variable loss = model.decoder->loss(tokens, targets, ctx);
      if (const Variable auxiliary = ctx.losses.total(); auxiliary.defined())
        loss = ops::add(loss, auxiliary);
      tape.backward(loss);
      ctx.observed.end_step(ctx.step);
    }
    optimizer->step(model.store, config.train.lr);
    model.store.clear_grads();
    if (step < kWarmUpSteps) continue;
    wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    cpu.push_back(cpu_seconds() - cpu_start);
  }
  const auto tokens = static_cast<double>(config.train.batch * config.train.seq);
  return {tokens / median(wall), tokens / median(cpu)};
}

// The standard output of a shell command; empty when it fails.
std::string output_of(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  std::string text;
  char buffer[4096];
  while (pipe && std::fgets(buffer, sizeof buffer, pipe.get()) != nullptr) text += buffer;
  return text;
}

std::optional<Speed> measure_peer(const std::string& python, const Config& config, int threads, int steps) {
  const bool experts = config.model.pattern.find('g') != std::string::npos;
  const std::string text = output_of(
      fmt::format("{} {} --model {} --threads {} --steps {} --dim {} --layers {} --heads {} --seq "
                  "{} --batch {} --experts {} "
                  "--topk {} --hidden {} --dense-hidden {}",
                  python, kPeer, experts ? "mixture" : "dense", threads, steps, config.model.dim,
                  config.model.layers, config.model.attention.heads, config.train.seq, config.train.batch,
                  config.moe.experts, config.moe.k, config.moe.hidden, config.model.dense.hidden));
  const auto result = nlohmann::json::parse(text, nullptr, false);
  if (!result.is_object()) return std::nullopt;
  return Speed{result.value("tokens_per_second", 0.0), result.value("tokens_per_cpu_second", 0.0)};
}

// Why PyTorch is left out, or nothing.
std::string peer_missing(const std::string& python) {
  if (!std::filesystem::exists(kPeer)) return fmt::format("{} is not below the current folder", kPeer);
  if (output_of(python + " -c 'import torch; print(1)' 2>/dev/null").empty())
    return fmt::format("{} cannot import torch", python);
  return {};
}

std::string row(const std::string& name, int threads, const Speed& speed, double flops_per_token,
                double peak) {
  const double gflops = 3.0 * flops_per_token * speed.per_second / 1e9;  // backward costs two forwards
  return fmt::format("{:<24} {:>7} {:>10.0f} {:>14.0f} {:>9.1f} {:>7.0f} %\n", name, threads,
                     speed.per_second, speed.per_cpu_second, gflops, 100.0 * gflops / peak);
}

Speed median_of(const std::vector<Speed>& speeds) {
  std::vector<double> wall, cpu;
  for (const Speed& speed : speeds) {
    wall.push_back(speed.per_second);
    cpu.push_back(speed.per_cpu_second);
  }
  return {median(wall), median(cpu)};
}

// The rows of one configuration; `python` may be empty.
std::string compare(const std::string& name, const Config& config, int threads, int steps,
                    const std::string& python, double peak) {
  const double flops = Model(config, kVocab, kCpu).decoder->account().flops_per_token;
  std::vector<Speed> ours, peers;
  for (int round = 0; round < kRounds; ++round) {
    ours.push_back(measure(config, steps));
    if (python.empty()) continue;
    if (const auto peer = measure_peer(python, config, threads, steps)) peers.push_back(*peer);
  }
  const Speed our = median_of(ours);
  const std::string text = row(name, threads, our, flops, peak);
  if (peers.empty()) return text;
  const Speed peer = median_of(peers);
  return text + row("  PyTorch", threads, peer, flops, peak) +
         fmt::format("{:<32} {:>9.2f}x {:>13.2f}x\n", "  ratio", our.per_second / peer.per_second,
                     our.per_cpu_second / peer.per_cpu_second);
}

}  // namespace

int bench_command(Arguments arguments) {
  CLI::App line{"Measures training speed in tokens per second.", "bench"};
  std::vector<std::string> files{"apps/configs/bench-smoe.toml", "apps/configs/bench-dense.toml"};
  std::vector<int> thread_counts{1, 2};
  int steps = 5;
  std::string python = "python3";
  line.add_option("CONFIG", files, "configurations to measure")->capture_default_str();
  line.add_option("--threads", thread_counts, "thread counts, separated by commas")
      ->delimiter(',')
      ->check(whole_number(1, 4096))
      ->capture_default_str();
  line.add_option("--steps", steps, "steps per measurement")->check(whole_number(1))->capture_default_str();
  line.add_option("--torch", python, "the Python that has PyTorch")->capture_default_str();
  if (!parse(line, std::move(arguments))) return 0;

  std::vector<std::pair<std::string, Config>> configs;  // by name
  for (const std::string& file : files) {
    Config config;
    read_config_file(config, file);
    config.validate();
    configs.emplace_back(std::filesystem::path(file).stem().string(), config);
  }
  const std::string missing = peer_missing(python);
  print_result(fmt::format("{:<24} {:>7} {:>10} {:>14} {:>9} {:>9}\n", "f32", "threads", "tokens/s",
                           "tokens/cpu-s", "GFLOP/s", "of peak"));
  for (const int threads : thread_counts) {
    set_num_threads(threads);
    const double peak = cpu::measure_peak_gflops(threads);
    print_result(fmt::format("{:<24} {:>7} {:>35.1f} {:>7} %\n", "measured peak", threads, peak, 100));
    for (const auto& [name, config] : configs)
      print_result(compare(name, config, threads, steps, missing.empty() ? python : "", peak));
  }
  if (!missing.empty()) print_result(fmt::format("PyTorch was skipped: {}\n", missing));
  return 0;
}

}  // namespace simsmoe::app
