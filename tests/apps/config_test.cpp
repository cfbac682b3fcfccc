// One list of keys, four visitors: they must agree, and refuse with a sentence that helps.

#include <doctest/doctest.h>

#include <map>

#include "apps/config_io.hpp"
#include "engine/check.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

Config read(const std::string& toml) {
  Config config;
  read_config(config, toml, "x.toml");
  return config;
}

Config overridden(std::vector<Override> overrides) {
  Config config;
  apply_overrides(config, overrides);
  return config;
}

void check_refused(const std::string& toml, const std::string& message) {
  CAPTURE(toml);
  CHECK_THROWS_WITH_AS(read(toml), doctest::Contains(message.c_str()), UserError);
}

}  // namespace

TEST_CASE("every key reads from TOML and from the command line, is dumped and is explained") {
  Config defaults;
  const std::string help = config_help(), dump = dump_config(defaults);
  const nn::FieldList fields = defaults.fields();
  for (const nn::Field& field : fields.all()) {
    CAPTURE(field.name);
    CHECK(help.find(fmt::format("--{}=", field.name)) != std::string::npos);
    CHECK(dump.find(fmt::format("\n{} = ", field.key())) != std::string::npos);
    CHECK(!field.help.empty());
  }
  for (const char* key : {"data.name", "data.path", "model.dim", "model.layers", "model.heads", "moe.experts",
                          "moe.k", "moe.hidden", "moe.router", "train.steps", "train.batch", "train.seq",
                          "train.lr", "train.seed", "train.eval_every", "train.save_every"})
    CHECK_MESSAGE(help.find(fmt::format("--{}=", key)) != std::string::npos, key);
}

TEST_CASE("a dump reads back to the same configuration, exactly") {
  Config config;
  config.train.lr = 0.1 + 0.2;
  config.train.eps = 1.0 / 3e9;
  config.data.path = "a \"quoted\" \\ path\twith # = [signs]\n\x01 and \xc3\xa9";
  config.model.tie_embeddings = true;
  config.train.seed = 8999999999999999;
  const Config copy = read(dump_config(config));
  CHECK(copy.train.lr == config.train.lr);
  CHECK(copy.train.eps == config.train.eps);
  CHECK(copy.data.path == config.data.path);
  CHECK(copy.model.tie_embeddings);
  CHECK(copy.train.seed == config.train.seed);
  CHECK(dump_config(copy) == dump_config(config));
}

TEST_CASE("unknown keys name their place and the nearest known one") {
  check_refused("[train]\n\nstpes = 5\n", "x.toml:3: unknown key 'train.stpes', did you mean 'train.steps'?");
  check_refused("[model]\nseq = 5\n", "x.toml:2: unknown key 'model.seq', did you mean 'train.seq'?");
  check_refused("[trian]\nlr = 1.0\n", "unknown key 'trian.lr', did you mean 'train.lr'?");
  check_refused("lr = 1.0\n", "x.toml:1: unknown key 'lr', did you mean 'train.lr'?");
  check_refused("[nothing]\n", "unknown key 'nothing'");
  check_refused("[train]\nsomething_else_entirely = 1\n", "train --help lists all keys");
  check_refused("[train\n", "x.toml:1:");
  check_refused("[train]\nlr = 1.0\nlr = 2.0\n", "x.toml:3:");
  CHECK_THROWS_WITH_AS(overridden({{"moe.expert", "4"}}),
                       "--moe.expert: unknown key, did you mean 'moe.experts'?", UserError);
}

TEST_CASE("values of the wrong type or out of range name the key and what is allowed") {
  check_refused("[train]\nsteps = 1.5\n", "x.toml:2: train.steps: expected a whole number in");
  check_refused("[train]\nsteps = \"5\"\n", "train.steps: expected a whole number in");
  check_refused("[train]\nsteps = 0\n", "got 0");
  check_refused("[train]\nlr = 0\n", "train.lr: expected a number > 0, got 0");
  check_refused("[train]\nlr = nan\n", "train.lr: expected a number > 0, got nan");
  check_refused("[data]\nvalid_fraction = 0\n", "data.valid_fraction: expected a number in (0, 1), got 0");
  check_refused("[train]\nlr = inf\n", "train.lr: expected a number > 0, got inf");
  check_refused("[model]\ndropout = 1.0\n", "model.dropout: expected a number in [0, 1), got 1");
  check_refused("[model]\ngated = 1\n", "model.gated: expected true or false, got 1");
  check_refused("[moe]\nrouter = \"smooe\"\n", ", got \"smooe\", did you mean 'smoe'?");
  check_refused("[model]\nnorm = \"rms\"\n", "model.norm: expected one of layer_norm, rms_norm, got \"rms\"");
  check_refused("[model.dim]\nx = 1\n", "model.dim: expected a whole number in [1, 65536], got a table");
  for (const auto& [key, value] : std::vector<Override>{{"train.steps", "1e3"},
                                                        {"train.steps", ""},
                                                        {"train.steps", "99999999999999999999"},
                                                        {"train.lr", "fast"},
                                                        {"train.lr", "-1"},
                                                        {"model.gated", "yes"},
                                                        {"moe.router", "smeo"}})
    CHECK_THROWS_WITH_AS(overridden({{key, value}}),
                         doctest::Contains(fmt::format("--{}: expected", key).c_str()), UserError);
}

TEST_CASE("steps are a list, in TOML an array or a text") {
  const nn::Steps steps{10, 20};
  CHECK(read("[train]\nmilestones = [10, 20]\n").train.milestones == steps);
  CHECK(read("[train]\nmilestones = \"10,20\"\n").train.milestones == steps);
  CHECK(read("[train]\nmilestones = \"\"\n").train.milestones.empty());
  CHECK(read("[train]\nmilestones = []\n").train.milestones.empty());
  CHECK(overridden({{"train.milestones", "10,20"}}).train.milestones == steps);
  check_refused("[train]\nmilestones = [10, 5]\n", "x.toml:2: train.milestones: expected ascending steps");
  check_refused("[train]\nmilestones = [\"a\"]\n",
                "train.milestones: expected ascending steps, as 1000,1500, got an array");
}

TEST_CASE("a key that moved says where it went, and is still read from a checkpoint of its time") {
  check_refused("[moe]\n\njitter = 0.2\n", "x.toml:3: unknown key 'moe.jitter': it is switch.jitter now");
  CHECK_THROWS_WITH_AS(overridden({{"moe.router_dim", "4"}}),
                       "--moe.router_dim: unknown key: it is xmoe.dim now", UserError);
  Config config;
  read_config(config,
              "[moe]\njitter = 0.2\nbias_update_rate = 0.5\nimportance_weight = 0.3\nload_weight = 0.4\n"
              "router_dim = 3\n",
              "old", FormerNames::accept);
  const nn::FieldList fields = config.fields();
  for (const auto& [key, value] : std::map<std::string, std::string>{{"switch.jitter", "0.2"},
                                                                     {"loss_free.rate", "0.5"},
                                                                     {"noisy_topk.importance_weight", "0.3"},
                                                                     {"noisy_topk.load_weight", "0.4"},
                                                                     {"xmoe.dim", "3"}})
    CHECK(nn::value_text(fields.at(key)) == value);
}

TEST_CASE("a file of one's own is the text, whichever is said last") {
  const auto text_of = [](const Config& config) { return config.data.name + " " + config.data.path; };
  CHECK(text_of(overridden({{"data.path", "mine"}})) == "file mine");
  CHECK(text_of(read("[data]\npath = \"mine\"\n")) == "file mine");
  CHECK(text_of(read("[data]\npath = \"\"\n")) == "gcide ");
  CHECK(text_of(read("[data]\nname = \"enwik8\"\npath = \"elsewhere\"\n")) == "enwik8 elsewhere");
  CHECK(text_of(overridden({{"data.name", "enwik8"}, {"data.path", "elsewhere"}})) == "enwik8 elsewhere");
  Config config = read("[data]\npath = \"mine\"\n");
  apply_overrides(config, {{"train.steps", "5"}});
  CHECK(text_of(config) == "file mine");
  apply_overrides(config, {{"data.name", "enwik8"}});
  CHECK(text_of(config) == "enwik8 ");
  CHECK_THROWS_WITH_AS(overridden({{"data.path", ""}}),
                       "--data.path is empty: leave it out where it is not meant", UserError);
}

TEST_CASE("several files are a list, in TOML an array or a text") {
  CHECK(read("[data]\npath = [\"a.txt\", \"b.txt\"]\n").data.path == "a.txt,b.txt");
  CHECK(read("[data]\npath = \"a.txt,b.txt\"\n").data.path == "a.txt,b.txt");
  check_refused("[data]\npath = [\"a.txt\", 1]\n",
                "data.path: expected one or more texts, as a,b, got an array");
  check_refused("[data]\npath = []\n", "data.path: expected one or more texts, as a,b, got []");
  check_refused("[data]\npath = [\"a,b\", \"c\"]\n", "data.path: \"a,b\" has a comma");
  check_refused("[data]\nname = [\"a\", \"b\"]\n", "data.name: expected a text, got an array");
}

TEST_CASE("a configuration says how many keys it set, and a file must set one") {
  Config config;
  CHECK(read_config(config, "[train]\nlr = 0.1\nsteps = 5\n[data]\n", "x.toml") == 2);
  CHECK(read_config(config, "# nothing\n", "x.toml") == 0);
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(read_config_file(config, folder.file("empty.toml", "[train]\n")),
                       doctest::Contains("empty.toml sets no key; to train with the defaults, leave it out"),
                       UserError);
  read_config_file(config, folder.file("one.toml", "[train]\nlr = 0.5\n"));
  CHECK(config.train.lr == 0.5);
}

TEST_CASE("texts are UTF-8") {
  CHECK(overridden({{"train.sample_prompt", "caf\xc3\xa9"}}).train.sample_prompt == "caf\xc3\xa9");
  CHECK_THROWS_WITH_AS(overridden({{"data.path", "a\xff"}}),
                       R"(--data.path: expected one or more texts, as a,b, got "a\xff", which is not UTF-8)",
                       UserError);
}

TEST_CASE("overrides come as one argument or two, and the later one counts") {
  std::vector<std::string> arguments{"a.toml",     "--train.lr=0.5", "--out",
                                     "x.y",        "--data.path",    "--odd",
                                     "--train.lr", "0.25",           "--data.name=a=b"};
  const std::vector<Override> overrides = take_overrides(arguments);
  CHECK(arguments == std::vector<std::string>{"a.toml", "--out", "x.y"});
  const Config config = overridden(overrides);
  CHECK(config.train.lr == 0.25);
  CHECK(config.data.path == "--odd");
  CHECK(config.data.name == "a=b");
  arguments = {"--train.lr"};
  CHECK_THROWS_WITH_AS(take_overrides(arguments), "--train.lr needs a value", UserError);
}

TEST_CASE("what a single range cannot say is checked as well") {
  const auto check = [](std::vector<Override> overrides, const char* message) {
    CHECK_THROWS_WITH_AS(overridden(std::move(overrides)).validate(), doctest::Contains(message), UserError);
  };
  Config().validate();
  check({{"model.heads", "3"}}, "model.heads = 3 does not divide model.dim = 128");
  check({{"moe.k", "9"}}, "moe.k = 9 is more than moe.experts = 8");
  check({{"model.pattern", "sx"}}, "model.pattern = 'sx'");
  check({{"model.positions", "rotary"}, {"model.dim", "4"}}, "even head size");
  check({{"train.schedule", "multi_step"}}, "train.milestones go together");
  check({{"train.milestones", "5"}}, "train.milestones go together");
  for (const char* bad : {"5,5", "8,5", "0", "half", "5,,6", "1.5", "5,", ","})
    CHECK_THROWS_WITH_AS(overridden({{"train.schedule", "multi_step"}, {"train.milestones", bad}}),
                         doctest::Contains("--train.milestones: expected ascending steps"), UserError);
  check({{"data.folder", ""}}, "data.folder is empty");
  check({{"data.valid_fraction", "0.5"}, {"data.test_fraction", "0.5"}}, "leave nothing to train on");
}
