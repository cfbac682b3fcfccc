#pragma once
// The options of the router compete and of its schedule: the section [compete].

#include "nn/fields.hpp"

namespace simsmoe::moe {

// How strongly an expert responds. automatic: softplus in version 2, norm in version 1.
enum class Response : unsigned char { automatic, softplus, norm, relu, silu, sigmoid };
constexpr auto enum_names(Response) {
  return std::to_array<std::string_view>({"auto", "softplus", "norm", "relu", "silu", "sigmoid"});
}
// When experts compete. automatic: bernoulli in version 2, lambda in version 1.
enum class Occasion : unsigned char { automatic, bernoulli, lambda };
constexpr auto enum_names(Occasion) {
  return std::to_array<std::string_view>({"auto", "bernoulli", "lambda"});
}
enum class Distillation : unsigned char { mse, kl };
constexpr auto enum_names(Distillation) { return std::to_array<std::string_view>({"mse", "kl"}); }

struct CompeteOptions {
  std::int64_t version = 2;  // of the paper: 2 (2025) or 1 (2024)
  Response response = Response::automatic;
  Occasion schedule = Occasion::automatic;
  double rate = 0.05;              // probability that a layer competes in a step (bernoulli)
  double warmup = 0.05;            // part of the training before the first competition (version 2)
  std::int64_t max_layers = 3;     // that compete in one step (version 2)
  std::int64_t iteration = 1000;   // steps for which a draw of lambda holds (version 1)
  double router_weight = 0.01;     // of the loss that teaches the router the outcome
  double diversity_weight = 0.01;  // of the loss on the likeness of the winners' outputs (version 2)
  double hybrid = 0.0;             // of the further router loss on the winners alone (version 2)
  Distillation distillation = Distillation::mse;  // of the outcome into the router (version 1)
  bool combine_router = false;     // the response is averaged with the router's logits (version 1)
  bool balance_responses = false;  // a balance loss on the responses in competition steps (version 1)

  bool by_lambda() const {
    return schedule == Occasion::lambda || (schedule == Occasion::automatic && version == 1);
  }

  void fields(nn::FieldList& add) {
    constexpr std::string_view kFirst = "compete.version = 1 only", kSecond = "compete.version = 2 only";
    const bool first = version == 1, second = version == 2;
    add("version", &version, "of CompeteSMoE: 2 (2025) or 1 (2024)", nn::between(1, 2));
    add("response", &response, "how strongly an expert responds; auto: softplus in version 2, norm in 1");
    add("schedule", &schedule, "when experts compete; auto: bernoulli in version 2, lambda in 1");
    add("rate", &rate, "probability that a layer competes in a step (bernoulli)", nn::between(0, 1))
        .read_if(!by_lambda(), "compete.schedule = lambda");
    add("warmup", &warmup, "part of the training before the first competition (version 2)", nn::between(0, 1))
        .read_if(second, kSecond);
    add("max_layers", &max_layers, "layers that compete in one step, at most (version 2)", nn::at_least(1))
        .read_if(second, kSecond);
    add("iteration", &iteration, "steps for which a draw of lambda holds (version 1)", nn::at_least(1))
        .read_if(by_lambda(), "compete.schedule lambda only");
    add("router_weight", &router_weight, "weight of the loss that teaches the router the outcome",
        nn::at_least(0))
        .turns_off("router");
    add("diversity_weight", &diversity_weight, "weight of the loss on alike winners (version 2)",
        nn::at_least(0))
        .turns_off("diversity")
        .read_if(second, kSecond);
    add("hybrid", &hybrid, "weight of the router's further loss on the winners alone (version 2)",
        nn::at_least(0))
        .read_if(second, kSecond);
    add("distillation", &distillation, "of the outcome into the router (version 1)").read_if(first, kFirst);
    add("combine_router", &combine_router, "average the response with the router's scores (version 1)")
        .read_if(first, kFirst);
    add("balance_responses", &balance_responses, "balance the responses of a competition, too (version 1)")
        .read_if(first, kFirst);
  }

  // What belongs to one version only.
  void check() const {
    const auto belongs_to = [&](std::int64_t wanted, bool set, std::string_view what) {
      if (set && version != wanted)
        throw UserError(fmt::format("{} belongs to compete.version = {}, not to {}", what, wanted, version));
    };
    belongs_to(1, schedule == Occasion::lambda, "compete.schedule = lambda");
    belongs_to(1, distillation == Distillation::kl, "compete.distillation = kl");
    belongs_to(1, combine_router, "compete.combine_router");
    belongs_to(1, balance_responses, "compete.balance_responses");
    belongs_to(2, hybrid > 0.0, "compete.hybrid");
  }
};

}  // namespace simsmoe::moe
