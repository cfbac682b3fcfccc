// train --init, train.keep and train.patience, as a person uses them.

#include <set>

#include "apps/run_checkpoint.hpp"
#include "tests/apps/workplace.hpp"

using namespace simsmoe;
using namespace simsmoe::app;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("train --init begins another run with the parameters of one, which it needs no more then") {
  const Workplace place(true);
  place.folder.file("other", "another text: " + small_text());
  const ProgramResult begun = place.run({"train", "--init", "run", "--out", "second", "--data.path=other",
                                         "--train.steps=20", "--train.lr=1e-4"});
  REQUIRE_MESSAGE(begun.exit_code == 0, begun.err);
  const RunCheckpoint first = load_run_checkpoint(place.folder / "run/checkpoints/best.safetensors"),
                      second = load_run_checkpoint(place.folder / "second/checkpoints/last.safetensors");
  std::int64_t values = 0;
  for (const NamedTensor& entry : first.model) values += entry.tensor.numel();
  CHECK_MESSAGE(contains(begun.err, fmt::format("begins with run/checkpoints/best.safetensors, step {}: {} "
                                                "tensors, {} parameters\n",
                                                first.state.step, first.model.size(), values)),
                begun.err);
  CHECK(contains(begun.err, "steps 1 to 20, run folder second"));
  // Without a configuration file it has that of the checkpoint.
  CHECK(second.config.model.dim == 16);
  CHECK(second.config.train.log_every == 1);
  CHECK(second.config.train.lr == 1e-4);
  for (const std::string& text :
       {read_file(place.folder / "second/config.toml"), place.run({"info", "second"}).out})
    CHECK(contains(text, "\ninit = \"run/checkpoints/best.safetensors\""));
  const auto losses = [&](const char* run) {
    std::vector<double> all;
    std::istringstream lines(read_file(place.folder / fmt::format("{}/metrics.jsonl", run)));
    for (std::string line; std::getline(lines, line);) all.push_back(json::parse(line)["train/loss"]);
    return all;
  };
  CHECK(losses("second").front() < 0.8 * losses("run").front());

  fs::rename(place.folder / "run", place.folder / "gone");
  CHECK(place.run({"train", "--resume", "second", "--train.steps=22"}).exit_code == 0);
  place.refused({"train", "--init", "run", "--out", "third"}, "there is no run folder or checkpoint run");

  // With a configuration file it has that, which must be of the same model.
  CHECK(place
            .run({"train", "tiny.toml", "--init", "gone/checkpoints/last.safetensors", "--out", "third",
                  "--train.steps=1"})
            .exit_code == 0);
  CHECK(contains(read_file(place.folder / "third/config.toml"), "\nlr = 0.003 "));
  place.refused({"train", "tiny.toml", "--init", "gone", "--out", "fourth", "--model.dim=24"},
                "tensor token.weight is [256, 16] there and [256, 24] here (");
  place.refused({"train", "tiny.toml", "--init", "text", "--out", "fourth"}, "text is not a checkpoint");
  place.refused({"train", "tiny.toml", "--init", "", "--out", "fourth"}, "--init: expected a name");
  place.refused({"train", "--init", "gone", "--resume", "second"}, "--init excludes --resume");
  place.refused({"train", "tiny.toml", "--out", "fourth", "--train.init="}, "--train.init is empty");
  place.refused({"train", "--resume", "second", "--train.init=gone"}, "has no meaning for train --resume");
  CHECK(!fs::exists(place.folder / "fourth"));
}

TEST_CASE("a resumed run may get more steps, not fewer, and is told of a rate that jumps") {
  const Workplace place;
  REQUIRE(place.run({"train", "tiny.toml", "--out", "run", "--train.steps=10", "--train.min_lr_ratio=0.9"})
              .exit_code == 0);
  place.refused({"train", "--resume", "run", "--train.steps=9"}, "--train.steps=9 is less than the 10 steps");
  CHECK(place.run({"train", "--resume", "run", "--train.steps=10"}).exit_code == 0);
  const ProgramResult more = place.run({"train", "--resume", "run", "--train.steps=20"});
  CHECK_MESSAGE(contains(more.err, "train.steps = 20 in place of 10 moves the learning rate of step 11 from"),
                more.err);
  const std::int64_t active =
      json::parse(read_file(place.folder / "run/manifest.json")).at("active_parameters");
  CHECK(contains(place.run({"info", "run"}).out,
                 fmt::format("{:<56} {:>20} {:>10}\n", "active per token", "", active)));
}

TEST_CASE(
    "numbered checkpoints are evaluated, written with and begun with, and a training that ended early can go "
    "on") {
  const Workplace place;
  const ProgramResult early =
      place.run({"train", "tiny.toml", "--out", "run", "--train.keep=2", "--train.patience=2",
                 "--train.eval_every=2", "--train.save_every=2", "--train.lr=3", "--train.warmup=0"});
  REQUIRE_MESSAGE(early.exit_code == 0, early.err);
  const std::string last = place.folder / "run/checkpoints/last.safetensors";
  const std::int64_t end = load_run_checkpoint(last).state.step;
  REQUIRE(end < 40);
  CHECK_MESSAGE(
      contains(early.err, fmt::format("step {}  ends the training: 2 validations in a row that are no "
                                      "better (train.patience)\n",
                                      end)),
      early.err);
  CHECK(contains(early.out, "run folder  run\n"));
  const auto numbered = [](std::int64_t step) {
    return fmt::format("run/checkpoints/step-{:06}.safetensors", step);
  };
  for (const std::int64_t step : {end - 2, end}) {
    const ProgramResult result = place.run({"evaluate", numbered(step), "--json"});
    REQUIRE(result.exit_code == 0);
    CHECK(json::parse(result.out)["step"] == step);
  }
  CHECK(!fs::exists(place.folder / numbered(end - 4)));
  CHECK(place.run({"generate", numbered(end), "--tokens", "3"}).exit_code == 0);
  CHECK(place.run({"train", "--init", numbered(end - 2), "--out", "second", "--train.steps=1"}).exit_code ==
        0);

  const std::string before = read_file(last);
  const ProgramResult again = place.run({"train", "--resume", "run"});
  CHECK(again.exit_code == 0);
  CHECK_MESSAGE(
      contains(again.err, fmt::format("ended early at step {} (train.patience = 2), run folder run", end)),
      again.err);
  CHECK(read_file(last) == before);
  CHECK(place.run({"train", "--resume", "run", "--train.patience=0", "--train.keep=1"}).exit_code == 0);
  CHECK(load_run_checkpoint(last).state.step == 40);
  CHECK(!fs::exists(place.folder / numbered(end)));
  CHECK(fs::exists(place.folder / numbered(40)));
  CHECK(contains(read_file(place.folder / "run/config.toml"), "\npatience = 0 "));
  place.refused({"train", "tiny.toml", "--out", "none", "--train.patience=2", "--train.eval_every=0"},
                "train.patience = 2 waits for validations, and train.eval_every = 0 makes none");
}
