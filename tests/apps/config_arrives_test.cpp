// Every key of every section changes what a training does: set to another value, a short run leaves other metrics,
// another checkpoint, or another complaint. A key without a trial fails, and so does one that changes nothing. The keys of
// a router need no trial of their own here unless something must be set beside them, or to a value of their own.

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "apps/config_io.hpp"
#include "apps/training_run.hpp"
#include "engine/caching_allocator.hpp"
#include "engine/file.hpp"
#include "engine/parallel_for.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

// A key, another value for it, and what must be set beside it before it can matter.
struct Trial {
  std::string key, value;
  std::vector<Override> beside = {};
};

const std::vector<Override> kAllPairs = {{"similarity.enabled", "true"},
                                         {"similarity.frequency", "0"},
                                         {"similarity.threshold", "-1"},
                                         {"similarity.beta", "0.5"}};
const std::vector<Override> kFewPairsAlike = {{"similarity.enabled", "true"},
                                              {"similarity.frequency", "0"},
                                              {"similarity.threshold", "0.999"},
                                              {"moe.dropout", "0.5"}};

std::vector<Override> and_also(std::vector<Override> first, const std::vector<Override>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}
std::vector<Override> router(const std::string& name, const std::vector<Override>& more = {}) {
  return and_also({{"moe.router", name}}, more);
}
// Competition in every step, or as often as `more` says.
std::vector<Override> compete(const std::vector<Override>& more = {}) {
  return router("compete", and_also({{"compete.rate", "1"}, {"compete.warmup", "0"}}, more));
}
std::vector<Override> compete1(const std::vector<Override>& more = {}) {
  return compete(and_also({{"compete.version", "1"}, {"compete.schedule", "bernoulli"}}, more));
}

const std::vector<Trial>& trials() {
  static const std::vector<Trial> all = {
      {"data.name", "enwik8", {{"data.name", "file"}}},
      {"data.path", "HERE/other"},
      {"data.folder", "elsewhere", {{"data.name", "enwik8"}}},
      {"data.vocab", "char"},
      {"data.valid_fraction", "0.3"},
      {"data.test_fraction", "0.3"},

      {"model.dim", "24"},
      {"model.layers", "1"},
      {"model.heads", "4"},
      {"model.key_heads", "1"},
      {"model.window", "2"},
      {"model.pattern", "sg"},
      {"model.norm", "rms_norm"},
      {"model.norm_place", "post"},
      {"model.positions", "rotary"},
      {"model.dropout", "0.3"},
      {"model.init_std", "0.05"},
      {"model.scaled_init", "false", {{"model.init_std", "0.05"}}},
      {"model.tie_embeddings", "true"},
      {"model.attention_bias", "true"},
      {"model.head_bias", "true"},
      {"model.hidden", "24"},
      {"model.activation", "relu"},
      {"model.gated", "true"},
      {"model.bias", "true"},

      {"moe.experts", "5"},
      {"moe.k", "3"},
      {"moe.hidden", "24"},
      {"moe.router", "xmoe"},
      {"moe.variant", "reference"},
      {"moe.router_order", "softmax_topk"},
      {"moe.router_bias", "true"},
      {"moe.activation", "relu"},
      {"moe.bias", "true"},
      {"moe.dropout", "0.3"},
      {"moe.init_alike", "0.5"},
      {"moe.balance", "first_choice"},
      {"moe.balance_weight", "0.5"},
      {"moe.z_weight", "0.5"},
      {"moe.capacity_factor", "0.5"},
      {"moe.k_schedule", "linear_decrease"},
      {"moe.k_min", "1", {{"moe.k_schedule", "linear"}}},
      {"moe.k_max", "3", {{"moe.k_schedule", "linear_decrease"}}},

      {"switch.jitter", "0.5", router("switch", {{"moe.k", "1"}})},
      {"stablemoe.balance_weight", "0.9", router("stablemoe", {{"stablemoe.stage1", "1"}})},
      {"stablemoe.distill_weight", "0.9", router("stablemoe", {{"stablemoe.stage1", "1"}})},
      {"compete.version", "1", compete({{"compete.schedule", "bernoulli"}})},
      {"compete.response", "norm", compete()},
      {"compete.schedule", "lambda",
       router("compete", {{"compete.version", "1"}, {"compete.schedule", "bernoulli"}})},
      {"compete.rate", "0", compete()},
      {"compete.warmup", "1", compete()},
      {"compete.max_layers", "1", compete({{"compete.rate", "0.5"}})},
      {"compete.iteration", "1", router("compete", {{"compete.version", "1"}})},
      {"compete.router_weight", "0.5", compete()},
      {"compete.diversity_weight", "0.5", compete()},
      {"compete.hybrid", "0.5", compete()},
      {"compete.distillation", "kl", compete1()},
      {"compete.combine_router", "true", compete1()},
      {"compete.balance_responses", "true", compete1()},

      {"similarity.enabled", "true"},
      {"similarity.beta", "0.7", kAllPairs},
      {"similarity.frequency", "0.3", kAllPairs},
      {"similarity.threshold", "0.99", kAllPairs},
      {"similarity.loss", "cosine", kAllPairs},
      {"similarity.kernel", "linear", kAllPairs},
      {"similarity.sigma", "0.3", and_also(kAllPairs, {{"similarity.kernel", "rbf"}})},
      {"similarity.estimator", "biased", kAllPairs},
      {"similarity.normalize", "true", kAllPairs},
      {"similarity.reuse_outputs", "true", kFewPairsAlike},
      {"similarity.min_tokens", "9", kAllPairs},
      {"similarity.max_tokens", "5", kAllPairs},

      {"train.steps", "5"},
      {"train.lr", "0.01"},
      {"train.schedule", "linear"},
      {"train.milestones", "1", {{"train.schedule", "multi_step"}, {"train.milestones", "2"}}},
      {"train.gamma", "0.5", {{"train.schedule", "multi_step"}, {"train.milestones", "1"}}},
      {"train.warmup", "3"},
      {"train.min_lr_ratio", "0.5"},
      {"train.optimizer", "sgd"},
      {"train.beta1", "0.5"},
      {"train.beta2", "0.5"},
      {"train.eps", "0.1"},
      {"train.momentum", "0.1", {{"train.optimizer", "sgd"}}},
      {"train.weight_decay", "0.5"},
      {"train.batch", "3"},
      {"train.seq", "9"},
      {"train.accumulate", "2"},
      {"train.clip", "0.001"},
      {"train.dtype", "bf16"},
      {"train.seed", "2"},
      {"train.log_every", "2"},
      {"train.eval_every", "1"},
      {"train.eval_batches", "2"},
      {"train.final_share", "1"},
      {"train.compare_experts", "false"},
      {"train.save_every", "1", {{"train.lr", "1e38"}}},  // the run fails: at its first checkpoint, or later
      {"train.patience", "1", {{"train.lr", "10"}, {"train.eval_every", "1"}}},  // it becomes worse
      {"train.keep", "1"},
      {"train.sample_every", "1"},
      {"train.sample_tokens", "3"},
      {"train.sample_temperature", "0"},
      {"train.sample_prompt", "a"},
      {"train.init", "HERE/checkpoint"},
  };
  return all;
}

// Another value that the field may have; empty: a text that could be anything.
std::string other_value(nn::Field field) {
  const std::string before = nn::value_text(field);
  std::vector<std::string> candidates;
  if (const auto* choice = std::get_if<nn::Choice>(&field.target))
    candidates.assign(choice->names.begin(), choice->names.end());
  else if (std::holds_alternative<bool*>(field.target))
    candidates = {"true", "false"};
  else if (const auto* whole = std::get_if<std::int64_t*>(&field.target))
    candidates = {std::to_string(**whole + 1), std::to_string(**whole - 1)};
  else if (const auto* number = std::get_if<double*>(&field.target))
    candidates = {fmt::format("{}", 2.0 * **number + 0.5), fmt::format("{}", 0.5 * **number)};
  for (const std::string& candidate : candidates) {
    if (candidate == before) continue;
    try {
      nn::store(field, nn::parse(field, candidate));
      return candidate;
    } catch (const UserError&) {
    }
  }
  return {};
}

// A trial for each key of a router's section that has none above: another value where that router is the router.
std::vector<Trial> trials_of_routers() {
  std::set<std::string> tried;
  for (const Trial& trial : trials()) tried.insert(trial.key);
  std::vector<Trial> all;
  Config config;
  const nn::FieldList fields = config.fields();
  for (const nn::Field& field : fields.all())
    if (moe::find_router_kind(field.section()) != nullptr && !tried.contains(field.name))
      all.push_back({field.name, other_value(field), router(field.section())});
  return all;
}

Config base_config(const TemporaryFolder& folder) {
  Config config = tiny_config(folder.file("text", small_text()));
  config.data.folder = folder / "data";
  config.model.dropout = 0.0;
  config.model.pattern = "sfg";
  config.model.dense.hidden = 16;
  config.train.steps = 4;
  config.train.batch = 2;
  config.train.seq = 8;
  config.train.warmup = 0;
  config.train.eval_every = 2;
  config.train.eval_batches = 1;
  config.train.final_share = 0.0;  // or it would depend on how fast this machine is
  config.train.save_every = 2;
  config.train.sample_every = 2;
  config.train.sample_tokens = 5;
  return config;
}

// What a run wrote, but for times, and what it complained of.
struct Trace {
  std::string complaint, metrics, ending;
  std::map<std::string, std::vector<double>> tensors;
  std::set<std::string> checkpoints;
  bool operator==(const Trace&) const = default;
};

std::string lines_without_times(const std::string& metrics) {
  std::string kept;
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    nlohmann::json values = nlohmann::json::parse(line);
    for (const char* key : {"tokens_per_s", "memory_bytes", "memory_reserved_bytes"}) values.erase(key);
    kept += values.dump() + "\n";
  }
  return kept;
}

// Temporary folders differ in their names.
std::string with(const std::string& text, const std::string& before, const std::string& now) {
  std::string changed = text;
  for (std::size_t at = 0; (at = changed.find(before, at)) != std::string::npos; at += now.size())
    changed.replace(at, before.size(), now);
  return changed;
}

Trace trace_of(std::vector<Override> overrides) {
  const TemporaryFolder folder;
  const std::string here = folder.path.string();
  folder.file("other", "another text: " + small_text());
  Config config = base_config(folder);
  for (Override& item : overrides) {
    item.value = with(item.value, "HERE", here);
    if (item.key != "train.init") continue;
    Config other = config;
    other.train.seed = 3;
    Trainer(other, kCpu).save(item.value, false);
  }
  apply_overrides(config, overrides);
  Trace trace;
  try {
    config.validate();
    Trainer trainer(config, kCpu);
    const RunFolder run = RunFolder::create(folder / "run");
    try {
      TrainingRun training(trainer, run);
      if (training.run()) trace.ending = training.finish();
    } catch (const Error& error) {
      trace.complaint = error.what();
    }
    if (std::filesystem::exists(run.metrics())) trace.metrics = lines_without_times(read_file(run.metrics()));
    const RunCheckpoint last = load_run_checkpoint(run.last_checkpoint());
    for (const NamedTensor& entry : last.model) trace.tensors[entry.name] = entry.tensor.to_vector<double>();
    for (const auto& entry : std::filesystem::directory_iterator(run.path() + "/checkpoints"))
      trace.checkpoints.insert(entry.path().filename().string());
    trace.tensors["step"] = {static_cast<double>(last.state.step)};
  } catch (const Error& error) {
    trace.complaint = error.what();
  }
  trace.complaint = with(trace.complaint, here, "HERE");
  return trace;
}

}  // namespace

TEST_CASE("train.recompute gives the same training in less memory") {
  CHECK(trace_of({{"train.recompute", "sublayers"}}) == trace_of({}));
  const auto peak_of_a_step = [](Recompute recompute) {
    const TemporaryFolder folder;
    Config config = base_config(folder);
    config.model.layers = 6;
    config.train.seq = 64;
    config.train.recompute = recompute;
    Trainer trainer(config, kCpu);
    allocator(kCpu).reset_peak();
    const std::size_t before = allocator(kCpu).stats().in_use_bytes;
    trainer.step(false);
    return static_cast<double>(allocator(kCpu).stats().peak_bytes - before);
  };
  CHECK(peak_of_a_step(Recompute::sublayers) < 0.5 * peak_of_a_step(Recompute::none));
}

TEST_CASE("every key changes what a training does") {
  set_num_threads(1);
  std::set<std::string> tried, keys;
  std::map<std::string, Trace> known;  // by what stands beside a key
  std::vector<Trial> all = trials();
  for (Trial& trial : trials_of_routers()) all.push_back(std::move(trial));
  for (const Trial& trial : all) {
    CAPTURE(trial.key);
    tried.insert(trial.key);
    std::string beside;
    for (const Override& o : trial.beside) beside += o.key + "=" + o.value + " ";
    if (!known.contains(beside)) {
      known[beside] = trace_of(trial.beside);
      CHECK(trace_of(trial.beside) == known[beside]);  // or any difference would do
    }
    const Trace changed = trace_of(and_also(trial.beside, {{trial.key, trial.value}}));
    CHECK(!(changed == known[beside]));
    if (tried.size() > trials().size())
      CHECK(changed.complaint == "");  // the value is nobody's choice: it must work
  }
  tried.insert("train.recompute");  // changes nothing but memory: below
  Config config;
  const nn::FieldList fields = config.fields();
  for (const nn::Field& field : fields.all()) keys.insert(field.name);
  for (const std::string& key : keys) CHECK_MESSAGE(tried.contains(key), key, " has no trial");
  for (const std::string& key : tried) CHECK_MESSAGE(keys.contains(key), key, " is no key");
}
