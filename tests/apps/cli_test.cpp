// The commands as scripts see them: files, exit codes, one clear sentence for each mistake; signals, full
// disks and damaged files.

#include <doctest/doctest.h>

#include <chrono>
#include <sstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "apps/language_modelling.hpp"
#include "apps/model_factory.hpp"
#include "apps/run_folder.hpp"
#include "tests/apps/workplace.hpp"

using namespace simsmoe;
using namespace simsmoe::app;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::string damaged(const std::string& bytes, std::size_t at) {
  std::string copy = bytes;
  copy[at] = static_cast<char>(copy[at] ^ 0x10);
  return copy;
}

}  // namespace

TEST_CASE("evaluate says how many experts tokens have where the router chooses") {
  const Workplace place;
  REQUIRE(
      place.run({"train", "tiny.toml", "--out", "run", "--moe.router=remoe", "--train.steps=2"}).exit_code ==
      0);
  const double experts = json::parse(place.run({"evaluate", "run", "--json"}).out)["experts_per_token"];
  CHECK(experts > 0.0);
  CHECK(place.run({"evaluate", "run"}).out.find(fmt::format(", {:.2f} experts per token)", experts)) !=
        std::string::npos);
}

TEST_CASE("train leaves a run folder, evaluate and generate read it") {
  const Workplace place(true);
  const RunFolder run = RunFolder::open(place.folder / "run");
  for (const std::string& file : {run.config(), run.manifest(), run.metrics(), run.best_checkpoint()})
    CHECK_MESSAGE(fs::file_size(file) > 0, file);

  const json manifest = json::parse(read_file(run.manifest()));
  for (const char* key : {"version", "seed", "data", "parameters", "active_parameters", "flops_per_token"})
    CHECK_MESSAGE(manifest.contains(key), key);
  CHECK(manifest["active_parameters"] < manifest["parameters"]);

  const std::vector<json> metrics = place.metrics();
  REQUIRE(metrics.size() == 40);
  for (const char* key :
       {"step", "train/loss", "train/task", "train/balance", "train/z", "train/bpb", "valid/bpb", "lr",
        "grad_norm", "tokens_per_s", "memory_bytes", "memory_reserved_bytes"})
    CHECK_MESSAGE(metrics[9].contains(key), key);
  CHECK(metrics.back()["step"] == 40);
  CHECK(metrics.back()["memory_reserved_bytes"] >= metrics.back()["memory_bytes"]);

  const ProgramResult evaluation = place.run({"evaluate", "run/checkpoints/last.safetensors", "--json"});
  CHECK(evaluation.exit_code == 0);
  CHECK(json::parse(evaluation.out)["bpb"].get<double>() ==
        doctest::Approx(metrics.back()["valid/bpb"].get<double>()));
  CHECK(json::parse(evaluation.out)["experts_per_token"] == json::parse(evaluation.out)["k"]);
  CHECK(place.run({"evaluate", "run", "--json"}).out == place.run({"evaluate", "run", "--json"}).out);
  const ProgramResult other = place.run({"evaluate", "run", "--json", "--data.path=tiny.toml"});
  CHECK(json::parse(other.out)["split"] == "all");
  CHECK(json::parse(other.out)["tokens"] == fs::file_size(place.folder / "tiny.toml") - 1);

  const std::vector<std::string> generate{"generate", "run", "--prompt", "the ",
                                          "--tokens", "30",  "--seed",   "7"};
  const ProgramResult text = place.run(generate);
  CHECK(text.exit_code == 0);
  CHECK(text.out.starts_with("the "));
  CHECK(text.out.size() == 4 + 30 + 1);
  CHECK(place.run(generate).out == text.out);
  CHECK(place.run({"info", "run"}).out.find("layers.0.attention.qkv.weight") != std::string::npos);
}

TEST_CASE("train --profile shows where the time went") {
  const Workplace place;
  const ProgramResult result =
      place.run({"train", "tiny.toml", "--out", "run", "--train.steps=2", "--profile", "trace.json"});
  CHECK(result.exit_code == 0);
  CHECK(result.out.find("grouped_matmul") != std::string::npos);
  CHECK(json::parse(read_file(place.folder / "trace.json")).size() > 0);
}

TEST_CASE("help, version and lists") {
  const Workplace place;
  for (const char* command : {"train", "evaluate", "generate", "gradcheck", "data", "info"}) {
    CAPTURE(command);
    const ProgramResult help = Program(place.folder, {command, "--help"}).wait();
    CHECK(help.exit_code == 0);
    CHECK(help.out.find("--help") != std::string::npos);
  }
  CHECK(Program(place.folder, {"--help"}).wait().exit_code == 0);
  CHECK(Program(place.folder, {}).wait().exit_code == 2);
  CHECK(Program(place.folder, {"train", "--help"}).wait().out.find("--moe.k=2") != std::string::npos);
  CHECK(place.run({"info"}).exit_code == 0);
  CHECK(place.run({"data", "list"}).out.find("gcide") != std::string::npos);
  CHECK(place.run({"nonsense"}).exit_code == 2);
}

TEST_CASE("mistakes end with exit code 2, one sentence and nothing written") {
  const Workplace place;
  const auto train = [&](const std::string& option, const std::string& message) {
    CAPTURE(option);
    place.refused({"train", "tiny.toml", "--out", "run", option}, message);
    CHECK(!fs::exists(place.folder / "run"));
  };
  train("--train.stpes=5", "did you mean 'train.steps'?");
  train("--train.steps=many", "--train.steps: expected a whole number");
  train("--model.heads=3", "model.heads = 3 does not divide model.dim = 16");
  train("--moe.k=5", "moe.k = 5 is more than moe.experts = 4");
  train("--data.path=missing", "cannot read missing");
  train("--data.path=" + place.folder.file("empty", ""), "is empty");
  train("--data.path=" + place.folder.file("short", "abc"), "needs at least 17");
  train("--train.sample_prompt=\xff", "--train.sample_prompt: expected a text, got");
  train("--data.path=\xff", "--data.path: expected one or more texts, as a,b, got");
  train("--device=tpu", "tpu");
  train("--nonsense", "--nonsense");
  place.refused({"train", "missing.toml"}, "missing.toml");
  place.refused({"train", "--resume", "missing"}, "there is no run folder missing");
  place.refused({"evaluate"}, "MODEL is required");
  place.refused({"evaluate", "missing"}, "there is no run folder or checkpoint missing");
  place.refused({"evaluate", "tiny.toml"}, "tiny.toml");
  place.refused({"generate", "missing", "--train.steps=3"}, "has no meaning for generate");
  place.refused({"train", "--data.folder=/etc/passwd/x"}, "/etc/passwd/x: Not a directory");
  fs::create_symlink("loop", place.folder / "loop");
  place.refused({"info", "loop"}, "cannot use loop: Too many levels of symbolic links");
  place.refused({"train", "--resume", std::string(300, 'x')}, "File name too long");
  const ProgramResult bench = Program(place.folder, {"bench", "missing.toml"}).wait();
  CHECK(bench.exit_code == 2);
  CHECK(bench.out.empty());
  place.refused({"data", "prepare", "nowhere"}, "unknown data.name 'nowhere'");
}

TEST_CASE("an existing run is neither overwritten nor resumed as another one") {
  const Workplace place(true);
  const std::string before = read_file(place.folder / "run/metrics.jsonl");
  place.refused({"train", "tiny.toml", "--out", "run"}, "exists already");
  place.refused({"train", "--resume", "run", "--train.lr=1"}, "has no meaning for train --resume");
  place.refused({"train", "--resume", "run", "--train.steps=10"}, "less than the 40 steps");
  place.folder.file("text", "another text " + small_text());
  place.refused({"train", "--resume", "run", "--train.steps=50"}, "is not the text that this run began with");
  place.refused({"generate", "run", "--temperature", "-1"}, "--temperature");
  place.refused({"generate", "run", "--tokens", "abc"}, "--tokens: expected a whole number >= 0, got abc");
  place.refused({"generate", "run", "--seed", "-1"}, "--seed: expected a whole number >= 0, got -1");
  place.refused({"evaluate", "run", "--batches", "-1"}, "--batches: expected a whole number >= 0, got -1");
  CHECK(place.run({"generate", "run", "--prompt", "--hello.world"}).out.starts_with("--hello.world"));
  place.refused({"evaluate", "run", "--data.vocab=char"}, "--data.vocab has no meaning for evaluate");
  CHECK(read_file(place.folder / "run/metrics.jsonl") == before);
}

TEST_CASE("damaged and foreign checkpoints are refused") {
  const Workplace place(true);
  const std::string bytes = read_file(place.folder / "run/checkpoints/last.safetensors");
  const auto refused = [&](const std::string& content, const std::string& message) {
    place.folder.file("damaged", content);
    place.refused({"evaluate", "damaged"}, message);
  };
  refused(bytes.substr(0, bytes.size() / 2), "damaged");
  refused(bytes.substr(0, 5), "damaged");
  refused("", "damaged");
  for (const std::size_t at :
       {std::size_t{3}, std::size_t{20}, std::size_t{2000}, bytes.size() / 2, bytes.size() - 1})
    refused(damaged(bytes, at), "damaged");

  RunCheckpoint checkpoint = load_run_checkpoint(place.folder / "run/checkpoints/last.safetensors");
  Config wider = checkpoint.config, routed = checkpoint.config;
  wider.model.dim = 32;
  routed.moe.router = "xmoe";
  for (const auto& [config, reason] :
       {std::pair{wider, "checkpoint is of another model"},
        std::pair{routed, "it lacks tensor layers.0.feed_forward.router.weight"}}) {
    const Model model(config, 256, kCpu);
    std::map<std::string, std::string> metadata;
    for (const char* key : {"vocabulary", "fingerprint"}) metadata[key] = checkpoint.metadata_at(key);
    save_run_checkpoint(place.folder / "wrong", checkpoint.config, metadata, {}, model.store, nullptr);
    place.refused({"evaluate", "wrong"}, reason);
  }
}

// Trains the tiny model with `changes` twice, once without a stop, once killed halfway and resumed.
void check_resumes_to_the_bit(const std::vector<std::string>& changes) {
  CAPTURE(changes);
  const Workplace place;
  const auto train = [&](const std::string& out) {
    std::vector<std::string> arguments{"train", "tiny.toml", "--out", out, "--threads", "1"};
    arguments.insert(arguments.end(), changes.begin(), changes.end());
    return Program(place.folder, arguments);
  };
  REQUIRE(train("straight").wait().exit_code == 0);
  {
    Program program = train("run");
    while (!fs::exists(place.folder / "run/checkpoints/best.safetensors"))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    program.send(SIGKILL);
    CHECK(program.wait().exit_code == 128 + SIGKILL);
  }
  REQUIRE(place.run({"train", "--resume", "run"}).exit_code == 0);
  const std::vector<json> metrics = place.metrics();
  std::istringstream straight(read_file(place.folder / "straight/metrics.jsonl"));
  for (const json& line : metrics) {
    std::string text;
    REQUIRE(std::getline(straight, text));
    const json other = json::parse(text);
    for (const char* key : {"step", "train/loss", "train/task", "grad_norm", "lr"})
      CHECK(line[key] == other[key]);
  }
  CHECK(metrics.size() == 40);
  CHECK(read_file(place.folder / "run/checkpoints/last.safetensors") ==
        read_file(place.folder / "straight/checkpoints/last.safetensors"));
}

TEST_CASE("killed and resumed, a run ends with the bits of one that never stopped") {
  check_resumes_to_the_bit({});
}

TEST_CASE("so does a run whose routers and pairs of experts have a history") {
  const std::vector<std::string> similarity = {"--similarity.enabled=true", "--similarity.frequency=0.5",
                                               "--similarity.threshold=-1"};
  const std::vector<std::vector<std::string>> routers = {{"--moe.router=compete", "--compete.rate=0.5"},
                                                         {"--moe.router=stablemoe", "--stablemoe.stage1=0.6"},
                                                         {"--moe.router=loss_free"},
                                                         {"--moe.router=noisy_topk"},
                                                         {"--moe.router=hyper"},
                                                         {"--moe.router=xmoe", "--moe.variant=reference"}};
  for (std::vector<std::string> changes : routers) {
    changes.insert(changes.end(), similarity.begin(), similarity.end());
    check_resumes_to_the_bit(changes);
  }
}

TEST_CASE("ctrl-C finishes the step, saves, exits with 130, and the run can go on") {
  const Workplace place;
  Program program = place.start_endless();
  const TemporaryFolder elsewhere;
  const ProgramResult second = Program(elsewhere, {"train", "--resume", place.folder / "run"}).wait();
  CHECK(second.exit_code == 2);
  CHECK(second.err.find("another process is writing in") != std::string::npos);
  program.send(SIGINT);
  const ProgramResult result = program.wait();
  CHECK(result.exit_code == 130);
  CHECK(result.err.find("go on with: simsmoe_app train --resume run") != std::string::npos);
  place.check_saved();
  const auto step = place.saved().step;
  REQUIRE(place.run({"train", "--resume", "run", fmt::format("--train.steps={}", step + 5)}).exit_code == 0);
  const std::vector<json> metrics = place.metrics();
  REQUIRE(metrics.size() == static_cast<std::size_t>(step + 5));
  for (std::size_t i = 0; i < metrics.size(); ++i) CHECK(metrics[i]["step"] == i + 1);
}

TEST_CASE("kill -9 at any moment leaves a checkpoint that loads") {
  for (int attempt = 0; attempt < 5; ++attempt) {
    const Workplace place;
    Program program =
        place.start_endless({"--train.save_every=1", "--train.eval_every=1", "--train.eval_batches=1"});
    std::this_thread::sleep_for(std::chrono::milliseconds(7 * attempt));
    program.send(SIGKILL);
    CHECK(program.wait().exit_code == 128 + SIGKILL);
    CHECK(load_run_checkpoint(place.folder / "run/checkpoints/last.safetensors").state.step > 0);
    CHECK(place.run({"evaluate", "run", "--batches", "1"}).exit_code == 0);
  }
}

TEST_CASE("a full disk is one clear error and leaves what was there") {
  constexpr rlim_t kLimit = 100'000;  // less than a checkpoint
  const Workplace fresh;
  const ProgramResult first = fresh.run({"train", "tiny.toml", "--out", "run"}, kLimit);
  CHECK(first.exit_code != 0);
  CHECK(first.err.find("error: ") != std::string::npos);
  CHECK(!fs::exists(fresh.folder / "run"));

  const Workplace place(true);
  const std::string last = place.folder / "run/checkpoints/last.safetensors";
  const std::string before = read_file(last);
  const ProgramResult later = place.run({"train", "--resume", "run", "--train.steps=60"}, kLimit);
  CHECK(later.exit_code != 0);
  CHECK(later.err.find("error: ") != std::string::npos);
  CHECK(read_file(last) == before);
  CHECK(!fs::exists(last + ".tmp"));
  CHECK(place.run({"train", "--resume", "run", "--train.steps=60"}).exit_code == 0);
}

TEST_CASE("a loss that is not finite ends the run with exit code 1 and keeps the last good checkpoint") {
  const Workplace place;
  const std::vector<std::string> arguments{"train",
                                           "tiny.toml",
                                           "--out",
                                           "run",
                                           "--train.lr=1e38",
                                           "--train.clip=0",
                                           "--train.warmup=0",
                                           "--train.optimizer=sgd"};
  const ProgramResult result = place.run(arguments);
  CHECK(result.exit_code == 1);
  CHECK(result.err.find("first tensor that is not finite: ") != std::string::npos);
  CHECK(result.err.find("the last good checkpoint is run/checkpoints/last.safetensors") != std::string::npos);
  CHECK(place.run({"info", "run/checkpoints/last.safetensors"}).exit_code == 0);

  place.refused(
      {"train", "tiny.toml", "--out", "last", "--train.steps=1", "--train.lr=1e38", "--train.warmup=0"},
      "the validation loss is not finite at step 1; first tensor", 1);
}

TEST_CASE("gradcheck runs the suite and counts") {
  const Workplace place;
  const ProgramResult result = Program(place.folder, {"gradcheck", "--json", "--filter", "softmax"}).wait();
  CHECK(result.exit_code == 0);
  const json counts = json::parse(result.out);
  CHECK(counts["failed"] == 0);
  CHECK(counts["checks"] > 20);
  CHECK(counts["worst_error"] < 1e-7);
  CHECK(Program(place.folder, {"gradcheck", "--filter", "decoder"}).wait().exit_code == 0);
  CHECK(Program(place.folder, {"gradcheck", "--filter", "no such op"}).wait().exit_code == 2);
}
