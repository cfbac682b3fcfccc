// The contract suite over every router, variant and k, and once more with similarity learning on top. One
// slice:
//   moe_tests -tc="contract: xmoe" -sc="reference k=2"
#include <doctest/doctest.h>

#include <functional>

#include "tests/moe/router_contract/contract.hpp"

namespace simsmoe::testing {

namespace {

using Adjust = std::function<void(Promise& promise)>;

void check(const Promise& promise) {
  SUBCASE(promise.name.c_str()) {
    const std::vector<Violation> violations = check_router(promise);
    CHECK_MESSAGE(violations.empty(), to_string(violations));
  }
}

// Some pairs of experts are compared and pushed apart in nearly every pass, however alike they are.
void add_similarity(Promise& promise) {
  moe::SimilarityOptions& similarity = promise.options.similarity;
  similarity.enabled = true;
  similarity.frequency = 0.05;
  similarity.threshold = -1.0;
  similarity.max_tokens = 6;
  promise.name += " similarity";
}

// Both variants, each k, and similarity learning at the smallest k of at least 2, or the only one. `phase`
// names what `adjust` makes of the router.
void check_all(const std::string& router, const std::vector<std::int64_t>& ks, const Adjust& adjust = {},
               const std::string& phase = {}) {
  for (const moe::Variant variant : {moe::Variant::paper, moe::Variant::reference})
    for (const std::int64_t k : ks) {
      Promise promise;
      promise.name = fmt::format("{} k={}{}", nn::name_of(variant), k, phase.empty() ? "" : " " + phase);
      promise.options.router = router;
      promise.options.variant = variant;
      promise.options.k = k;
      if (adjust) adjust(promise);
      check(promise);
      // The hash of a word knows of no runner-up to compare the one expert with.
      if (k == promise.options.experts || (router == "hash" && k == 1)) continue;
      add_similarity(promise);
      check(promise);
    }
}

const std::vector<std::int64_t> kAll = {1, 2, 4};

// Of the layer's balance loss.
double uniform_balance(const Promise& promise) {
  const bool divided = promise.options.balance_form() == moe::Balance::reference;
  return divided ? 1.0 / static_cast<double>(promise.options.k) : 1.0;
}

void freeze_map(Promise& promise) { promise.frozen = {"weight", "bias"}; }

void freeze_hypernetwork(Promise& promise) {
  promise.options.set("hyper.size", 8);
  promise.frozen = {"up.weight", "up.bias", "down.weight", "down.bias"};
}

}  // namespace

TEST_CASE("contract: smoe") {
  check_all("smoe", kAll, [](Promise& p) { p.uniform_balance = uniform_balance(p); });
  const Adjust softmax_first = [](Promise& p) {
    p.options.router_order = moe::SelectionOrder::softmax_topk;
    p.weights = WeightSum::at_most_one;
  };
  check_all("smoe", kAll, softmax_first, "softmax_topk");
  check_all(
      "smoe", {2}, [](Promise& p) { p.options.balance = moe::Balance::global; }, "global balance");
}

TEST_CASE("contract: noisy_topk") {
  check_all("noisy_topk", kAll, [](Promise& p) { p.draws_in_training = true; });
}

TEST_CASE("contract: switch") {
  check_all("switch", {1}, [](Promise& p) {
    p.any_k = false;
    p.weights = WeightSum::at_most_one;
    p.draws_in_training = true;
    p.uniform_balance = 1.0;
  });
}

TEST_CASE("contract: gshard") {
  check_all("gshard", {2}, [](Promise& p) {
    p.any_k = false;
    p.draws_in_training = true;
    p.count = ChoiceCount::up_to_k_in_training;
    p.uniform_balance = p.options.reference() ? 2.0 : 1.0;
  });
}

TEST_CASE("contract: sigmoid") {
  check_all("sigmoid", kAll, [](Promise& p) { p.uniform_balance = uniform_balance(p); });
}

TEST_CASE("contract: loss_free") {
  check_all("loss_free", kAll, [](Promise& p) {
    p.changes = p.options.k == p.options.experts ? Changes::nothing : Changes::buffers;  // equal loads stay
    p.descending = p.top_k_of_logits = false;  // the bias chooses, the score weighs
    if (p.options.reference() && p.options.k == 1) p.idle = {"weight", "bias"};
  });
}

TEST_CASE("contract: random") { check_all("random", kAll, freeze_map); }

TEST_CASE("contract: hash") {
  check_all("hash", kAll, [](Promise& p) {
    p.weights = WeightSum::one;
    p.top_k_of_logits = p.ties_to_lowest = p.any_k = false;
  });
}

TEST_CASE("contract: expert_choice") {
  check_all("expert_choice", kAll, [](Promise& p) {
    p.weights = WeightSum::at_most_one;
    p.count = ChoiceCount::any;
    p.descending = p.top_k_of_logits = p.ties_to_lowest = p.token_by_token = false;
  });
}

TEST_CASE("contract: xmoe") {
  check_all("xmoe", kAll, [](Promise& p) {
    p.options.set("xmoe.dim", 4);
    p.uniform_balance = uniform_balance(p);
    if (p.options.reference()) p.changes = Changes::parameters;
  });
}

TEST_CASE("contract: stablemoe") {
  const Adjust stage1 = [](Promise& p) {
    p.options.set("stablemoe.distilled_dim", 3);
    p.options.set("stablemoe.stage1", 0.1);
    p.descending = p.top_k_of_logits = false;                  // evaluation chooses by the distilled scores
    if (p.options.k == 1) p.weights = WeightSum::at_most_one;  // a sigmoid, in both variants
    p.not_from_task = {"word_embedding", "distilled"};
    p.uniform_balance = 0.0;
  };
  const Adjust stage2 = [&](Promise& p) {
    stage1(p);
    p.step = 4;
    p.changes = Changes::buffers;
    p.idle = {"word_embedding", "distilled"};
    p.uniform_balance = {};
  };
  check_all("stablemoe", kAll, stage1, "stage 1");
  check_all("stablemoe", kAll, stage2, "stage 2");
}

TEST_CASE("contract: stablemoe_lite") {
  check_all("stablemoe_lite", kAll, [](Promise& p) { p.uniform_balance = uniform_balance(p); });
}

TEST_CASE("contract: smoe_dropout") {
  const auto at = [](std::uint64_t step, std::int64_t training_k) {
    return [=](Promise& p) {
      freeze_map(p);
      p.step = step;
      p.training_k = training_k;
    };
  };
  check_all("smoe_dropout", kAll, at(0, 2), "at the start");
  check_all("smoe_dropout", {2}, at(20, 3), "halfway");
  check_all("smoe_dropout", {2}, at(40, 4), "at the end");
}

TEST_CASE("contract: hyper") {
  const Adjust frozen = [](Promise& p) {
    freeze_hypernetwork(p);
    p.training_k = 2;
  };
  const Adjust fixed_k = [](Promise& p) {
    freeze_hypernetwork(p);
    p.options.k_schedule.shape = moe::KShape::none;
    if (p.options.reference() && p.options.k == 1) p.idle = {"embedding"};
  };
  const Adjust trainable = [&](Promise& p) {
    fixed_k(p);
    p.options.set("hyper.trainable", true);
    if (p.options.reference() && p.options.k == 1)
      p.idle.insert(p.idle.end(), p.frozen.begin(), p.frozen.end());
    p.frozen = {};
  };
  check_all("hyper", {2}, frozen, "growing k");
  check_all("hyper", kAll, fixed_k);
  check_all("hyper", {1, 2}, trainable, "trainable");
}

TEST_CASE("contract: k schedules, on a router that learns") {
  const auto schedule = [](moe::KShape shape, std::int64_t k_at_10) {
    return [=](Promise& p) {
      p.options.k_schedule = {.shape = shape, .k_min = 1, .k_max = 4};
      p.step = 10;
      p.training_k = k_at_10;
    };
  };
  check_all("smoe", {2}, schedule(moe::KShape::linear, 2), "linear");
  check_all("smoe", {2}, schedule(moe::KShape::cosine, 1), "cosine");
  check_all("smoe", {2}, schedule(moe::KShape::exponential, 1), "exponential");
  check_all("smoe", {2}, schedule(moe::KShape::multi_step, 2), "multi_step");
  check_all("smoe", {2}, schedule(moe::KShape::linear_decrease, 3), "linear_decrease");
  check_all("smoe", {2}, schedule(moe::KShape::multi_step_decrease, 4), "multi_step_decrease");
}

TEST_CASE("contract: compete") {
  const Adjust router_step = [](Promise& p) {
    p.options.set("compete.rate", 0.0);
    p.changes = Changes::buffers;  // the plan of the competitions
    p.uniform_balance = uniform_balance(p);
  };
  const Adjust competition = [&](Promise& p) {
    router_step(p);
    p.options.set("compete.rate", 1.0);
    p.options.set("compete.warmup", 0.0);
    p.options.set("compete.hybrid", 0.1);
    p.options.set("compete.router_weight", 0.5).set("compete.diversity_weight", 0.5);
    p.top_k_of_logits = false;  // the responses choose
    p.not_from_task = {"weight", "bias"};
    p.stopped_losses = {"router"};
  };
  const auto version1 = [&](const std::string& distillation) {
    return [&, distillation](Promise& p) {
      competition(p);
      p.options.set("compete.version", 1);
      p.options.set("compete.hybrid", 0.0);
      p.options.set("compete.schedule", "bernoulli");
      p.options.set("compete.distillation", distillation);
      p.options.set("compete.balance_responses", distillation == "mse");
      p.uniform_balance = {};
      if (distillation == "mse") p.uniform_balance = uniform_balance(p);
    };
  };
  check_all("compete", kAll, router_step, "router step");
  check_all("compete", kAll, competition, "competition");
  check_all("compete", kAll, version1("mse"), "version 1 competition");
  check_all("compete", {2}, version1("kl"), "version 1 competition, kl");
}

TEST_CASE("contract: remoe") {
  const Adjust relu = [](Promise& p) {
    p.weights = WeightSum::not_negative;
    p.count = ChoiceCount::any;
    p.changes = Changes::buffers;
    p.options.set("remoe.lambda0", 0.1);  // a loss that shows
    p.ties_to_lowest = false;             // a score of 0 chooses nobody
    p.any_k = false;
  };
  const auto capped = [&](std::int64_t cap) {
    return [&, cap](Promise& p) {
      relu(p);
      p.options.set("remoe.cap", cap);
      p.columns = cap;
    };
  };
  check_all("remoe", kAll, relu);
  check_all("remoe", {2}, capped(1), "cap 1");
  check_all("remoe", {1}, capped(3), "cap 3");
  const Adjust held = [&](Promise& p) {
    relu(p);
    p.options.set("remoe.hold", true);
    p.changes = Changes::nothing;
  };
  check_all("remoe", {2}, held, "held");
}

}  // namespace simsmoe::testing
