// What evaluate and generate can be asked for beside the model's own settings, and what a run says at its start and on its
// way.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/apps/workplace.hpp"

using namespace simsmoe;
using namespace simsmoe::app;
using nlohmann::json;

namespace {

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("evaluate drops no token unless it is told to, and says so") {
  const Workplace place;
  const ProgramResult trained =
      place.run({"train", "tiny.toml", "--out", "run", "--moe.capacity_factor=0.5", "--train.steps=3"});
  REQUIRE(trained.exit_code == 0);
  const ProgramResult plain = place.run({"evaluate", "run", "--json"});
  CHECK(says(plain.err, "no token is dropped here; the training drops some (moe.capacity_factor = 0.5)"));
  const json whole = json::parse(plain.out);
  CHECK(whole["dropped"] == 0.0);
  CHECK(whole["capacity_factor"] == 0.0);
  const json other_batch = json::parse(place.run({"evaluate", "run", "--json", "--batch", "1"}).out);
  CHECK(other_batch["loss"].get<double>() == doctest::Approx(whole["loss"].get<double>()).epsilon(1e-5));
  const auto limited = [&](const std::string& batch) {
    return json::parse(
        place.run({"evaluate", "run", "--json", "--capacity-factor", "0.5", "--batch", batch}).out);
  };
  CHECK(limited("4")["dropped"] > 0.1);
  CHECK(limited("4")["loss"] != whole["loss"]);
  CHECK(limited("4")["loss"] != limited("1")["loss"]);
  CHECK(says(place.run({"evaluate", "run", "--capacity-factor", "0.5"}).out, "% of the choices dropped"));
  place.refused({"evaluate", "run", "--capacity-factor", "-1"}, "--capacity-factor: expected a number >= 0");
}

TEST_CASE("evaluate names bits per byte, and bits per character where a token is one") {
  const Workplace place(true);
  const ProgramResult bytes = place.run({"evaluate", "run"});
  CHECK(says(bytes.out, " bits per byte, "));
  CHECK(!says(bytes.out, "bits per character"));
  CHECK(!json::parse(place.run({"evaluate", "run", "--json"}).out).contains("bpc"));
  REQUIRE(
      place.run({"train", "tiny.toml", "--out", "chars", "--data.vocab=char", "--train.steps=2"}).exit_code ==
      0);
  CHECK(says(place.run({"evaluate", "chars"}).out, " bits per byte, "));
  CHECK(says(place.run({"evaluate", "chars"}).out, " bits per character, "));
  const json object = json::parse(place.run({"evaluate", "chars", "--json"}).out);
  CHECK(object["bpc"].get<double>() == doctest::Approx(object["loss"].get<double>() / std::log(2.0)));
  CHECK(object["perplexity"].get<double>() == doctest::Approx(std::exp(object["loss"].get<double>())));
}

TEST_CASE("generate with other numbers of experts, and several samples") {
  const Workplace place(true);
  const auto written = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"generate", "run", "--prompt", "the ", "--tokens", "30"});
    const ProgramResult result = place.run(more);
    CHECK(result.exit_code == 0);
    return result.out;
  };
  const std::string first = written({"--seed", "4"}), second = written({"--seed", "5"});
  CHECK(first != second);
  CHECK(written({"--seed", "4", "--samples", "2"}) ==
        "--- sample 1 of 2, seed 4\n" + first + "--- sample 2 of 2, seed 5\n" + second);
  CHECK(written({"--seed", "4", "--k", "2"}) == first);  // moe.k
  CHECK(written({"--seed", "4", "--k", "4"}) != first);
  place.refused({"generate", "run", "--k", "5"}, "--k 5 is more than the 4 experts of the model");
  place.refused({"generate", "run", "--samples", "0"}, "--samples");
}

TEST_CASE("train says what to know of the router, and names an expert that starves") {
  const Workplace place;
  const auto said = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"train", "tiny.toml", "--train.steps=1", "--train.sample_tokens=0"});
    return place.run(more).err;
  };
  CHECK(says(said({"--out", "a", "--moe.router=expert_choice"}),
             "router expert_choice decides by the tokens behind"));
  CHECK(says(said({"--out", "b", "--moe.k=1", "--moe.variant=reference"}),
             "its weight is 1 and the task has no"));
  CHECK(!says(said({"--out", "c"}), "router"));
  // Of 64 experts that words are sent to by their number, some see none of a small text.
  const std::string err =
      place
          .run({"train", "tiny.toml", "--out", "run", "--moe.router=hash", "--moe.experts=64", "--moe.k=1",
                "--moe.hidden=4", "--train.steps=100", "--train.log_every=1", "--train.sample_tokens=0"})
          .err;
  CHECK(says(err,
             "layers.0.feed_forward starves: less than 1/640 of the choices in 100 logged steps in a row"));
  for (const json& line : place.metrics())
    for (const auto& [key, value] : line.items()) CHECK(!says(key, "/load."));
}

TEST_CASE("a resumed run whose learning rate jumps says so") {
  const Workplace place(true);
  const ProgramResult more = place.run({"train", "--resume", "run", "--train.steps=80"});
  CHECK(more.exit_code == 0);
  CHECK(says(more.err, "train.steps = 80 in place of 40 moves the learning rate of step 41 from "));
  const ProgramResult again = place.run({"train", "--resume", "run"});
  CHECK(!says(again.err, "moves the learning rate"));
}

TEST_CASE("evaluate says how much of the text it read") {
  const Workplace place(true);
  const json whole = json::parse(place.run({"evaluate", "run", "--json"}).out);
  CHECK(whole["tokens"] == whole["tokens_of_text"]);
  CHECK(whole["windows"] == whole["windows_of_text"]);
  const std::int64_t tokens = whole["tokens"], windows = whole["windows"];
  CHECK(windows == (tokens + 15) / 16);
  CHECK(says(place.run({"evaluate", "run"}).out,
             fmt::format("(all {} tokens of {}, step 40)", tokens, place.folder / "text")));
  const json part = json::parse(place.run({"evaluate", "run", "--json", "--batches", "2"}).out);
  CHECK(part["tokens"] == 2 * 4 * 16);
  CHECK(part["windows"] == 8);
  CHECK(part["tokens_of_text"] == tokens);
  CHECK(part["windows_of_text"] == windows);
  CHECK(says(place.run({"evaluate", "run", "--batches", "2"}).out,
             fmt::format("(8 of {} windows, 128 of {} tokens of {}, step 40)", windows, tokens,
                         place.folder / "text")));
}

TEST_CASE("control bytes are shown in samples, the log and errors, while a pipe gets what was written") {
  const Workplace place;
  const ProgramResult trained = place.shell(
      "$app train tiny.toml --out run --threads 1 --train.steps=2 --train.sample_every=1 "
      "--train.sample_tokens=3 "
      "--train.sample_prompt=$'a\\e[2Jb\\xc2\\x9b'");
  CHECK_MESSAGE(trained.exit_code == 0, trained.err);
  for (const std::string& text : {trained.out, trained.err, read_file(place.folder / "run/metrics.jsonl")})
    CHECK(!says(text, "\x1b"));
  CHECK(says(trained.out, "sample      a\\x1b[2Jb\\xc2\\x9b"));
  CHECK(says(trained.err, "sample: a\\x1b[2Jb\\xc2\\x9b"));
  CHECK(place.metrics().back()["sample"].get<std::string>().starts_with("a\\x1b[2Jb\\xc2\\x9b"));

  const std::string prompt = "$app generate run --threads 1 --tokens 0 --prompt $'a\\e[31mb\\xff'";
  CHECK(place.shell(prompt).out == "a\x1b[31mb\xff\n");
  CHECK(place.shell(prompt + " --raw").out == "a\x1b[31mb\xff\n");
  CHECK(place.shell("$app info $'no\\e[31mrun'").err.find("no\\x1b[31mrun") != std::string::npos);
  CHECK(!says(place.shell("$app $'no\\e[31mcommand'").err, "\x1b"));
}

#ifndef __SANITIZE_ADDRESS__  // which asks for terabytes
TEST_CASE("a limit on memory that only the compressors exceed fails no run") {
  const Workplace place;
  const ProgramResult result = place.shell(
      "ulimit -v 400000; $app train tiny.toml --out run --threads 1 --train.steps=2 --train.final_share=1");
  CHECK_MESSAGE(result.exit_code == 0, result.err);
  CHECK(says(result.out, "\nxz -9e      left out: not enough memory\n"));
  CHECK(says(result.out, "\nrun folder  run\n"));
}

TEST_CASE("characters of a text that does not fit into memory: the key that helps is named") {
  const Workplace place;
  std::filesystem::resize_file(place.folder / "text", std::uintmax_t{1} << 32);
  const ProgramResult result =
      place.shell("ulimit -v 1000000; $app train tiny.toml --out run --threads 1 --data.vocab=char");
  CHECK(result.exit_code == 2);
  CHECK(says(result.err, "data.vocab = \"byte\" reads it where it is asked for"));
}
#endif
