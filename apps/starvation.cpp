// Counting steps in a row, expert by expert.

#include "apps/starvation.hpp"

#include <fmt/format.h>

namespace simsmoe::app {

namespace {

constexpr std::int64_t kPatience = 100;  // logged steps
constexpr std::string_view kLoad = "/load.";

}  // namespace

std::vector<std::string> StarvationWatch::take(std::map<std::string, double>& values) {
  std::map<std::string, std::map<std::string, double>> layers;  // WHERE -> E -> share
  for (auto at = values.begin(); at != values.end();) {
    const std::size_t load = at->first.rfind(kLoad);
    if (load == std::string::npos) {
      ++at;
      continue;
    }
    layers[at->first.substr(0, load)][at->first.substr(load + kLoad.size())] = at->second;
    at = values.erase(at);
  }
  std::vector<std::string> sentences;
  for (const auto& [where, shares] : layers)
    for (const auto& [expert, share] : shares) {
      std::int64_t& steps = hungry_[where + "." + expert];
      const std::size_t least = 10 * shares.size();
      steps = share * static_cast<double>(least) < 1.0 ? steps + 1 : 0;
      if (steps == kPatience)
        sentences.push_back(
            fmt::format("expert {} of {} starves: less than 1/{} of the choices in {} logged steps in a row; "
                        "a larger moe.balance_weight, or a moe.router that balances by itself, may help",
                        expert, where, least, kPatience));
    }
  return sentences;
}

}  // namespace simsmoe::app
