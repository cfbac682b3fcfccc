// The facts of a run as JSON.

#include "apps/manifest.hpp"

#include <fmt/chrono.h>

#include <chrono>

#include "engine/cpu/gemm.hpp"
#include "engine/parallel_for.hpp"

namespace simsmoe::app {

nlohmann::ordered_json manifest_of(const Trainer& trainer) {
  const nn::Account account = trainer.task().account();
  const auto now = std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  return {{"version", kVersion},
          {"started", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now))},
          {"started_at_step", trainer.state().step},
          {"seed", trainer.config().train.seed},
          {"data", trainer.task().about_data()},
          {"parameters", account.parameters},
          {"trainable_parameters", trainer.task().store().num_elements(true)},
          {"active_parameters", account.active_parameters},
          {"flops_per_token", account.flops_per_token},
          {"threads", num_threads()},
          {"device", trainer.task().store().device().to_string()},
          {"gemm", cpu::name_of(cpu::gemm_library())}};
}

}  // namespace simsmoe::app
