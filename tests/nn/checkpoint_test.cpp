// Round trips bit for bit, and every kind of bad file refused with one sentence.

#include "nn/checkpoint.hpp"

#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

using testing::same_bits;
using testing::TemporaryFile;
using testing::tiny_options;
using testing::tokens;

namespace {

struct Model {
  explicit Model(std::uint64_t seed, Checkpoint* checkpoint = nullptr,
                 DecoderOptions options = tiny_options())
      : store(seed) {
    if (checkpoint != nullptr) store.preload(checkpoint->model);
    counter = Scope(store).buffer("counter", {2}, DType::i64, 1.0);
    decoder = std::make_unique<Decoder>(Scope(store) / "decoder", options, FeedForwardFactory{});
    optimizer = make_optimizer(store, {});
  }

  void train_step(std::uint64_t step) {
    Tape tape;
    ForwardContext ctx;
    tape.backward(decoder->loss(tokens(2, 6, 11, step), tokens(2, 6, 11, step + 100), ctx));
    optimizer->step(store, 0.01);
    store.clear_grads();
    ++counter.data<std::int64_t>()[0];
  }

  ParameterStore store;
  Tensor counter;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<Optimizer> optimizer;
};

void check_same(const Model& a, const Model& b) {
  REQUIRE(a.store.parameters().size() == b.store.parameters().size());
  for (std::size_t i = 0; i < a.store.parameters().size(); ++i) {
    CAPTURE(a.store.parameters()[i].variable.name());
    CHECK(same_bits(a.store.parameters()[i].variable.value(), b.store.parameters()[i].variable.value()));
  }
  CHECK(same_bits(a.counter, b.counter));
  const std::vector<NamedTensor> s = a.optimizer->state(), t = b.optimizer->state();
  REQUIRE(s.size() == t.size());
  for (std::size_t i = 0; i < s.size(); ++i) CHECK(same_bits(s[i].tensor, t[i].tensor));
}

}  // namespace

TEST_CASE("six steps are three, save, load and three, bit for bit") {
  const TemporaryFile file("resume");
  Model straight(1), first(1);
  for (std::uint64_t step = 0; step < 6; ++step) straight.train_step(step);
  for (std::uint64_t step = 0; step < 3; ++step) first.train_step(step);
  save_checkpoint(file.path(), first.store, first.optimizer.get(), {{"step", "3"}, {"config", "dim = 8\n"}});

  Checkpoint checkpoint = load_checkpoint(file.path());
  CHECK(checkpoint.metadata == std::map<std::string, std::string>{{"step", "3"}, {"config", "dim = 8\n"}});
  Model second(99, &checkpoint);  // another seed: nothing may be drawn anew
  check_all_claimed(second.store);
  second.optimizer->load(checkpoint.optimizer);
  check_same(first, second);
  for (std::uint64_t step = 3; step < 6; ++step) second.train_step(step);
  check_same(straight, second);
}

TEST_CASE("a checkpoint without an optimizer is a model") {
  const TemporaryFile file("model");
  const Model model(1);
  save_checkpoint(file.path(), model.store, nullptr, {});
  const Checkpoint checkpoint = load_checkpoint(file.path());
  CHECK(checkpoint.optimizer.tensors.empty());
  CHECK(checkpoint.model.size() == model.store.parameters().size() + 1);
  CHECK_THROWS_AS(save_checkpoint(file.path(), model.store, nullptr, {{"format", "x"}}), Error);
}

TEST_CASE("a parameter whose name is that of another part of the file is refused") {
  const TemporaryFile file("reserved");
  for (const char* scope : {"state", "optim"}) {
    ParameterStore store(1);
    Scope(store, scope).buffer("counter", {1}, DType::i64);
    CHECK_THROWS_WITH_AS(save_checkpoint(file.path(), store, nullptr, {}),
                         doctest::Contains(fmt::format("the name '{}.counter' is reserved", scope).c_str()),
                         Error);
  }
}

TEST_CASE("a checkpoint of another model is refused by name and shape") {
  const TemporaryFile file("other");
  const Model model(1);
  save_checkpoint(file.path(), model.store, nullptr, {});
  Checkpoint checkpoint = load_checkpoint(file.path());
  const auto load_into = [&](const std::function<void(DecoderOptions&)>& change) {
    DecoderOptions options = tiny_options();
    change(options);
    const Model other(1, &checkpoint, options);
    check_all_claimed(other.store);
  };
  CHECK_THROWS_WITH_AS(
      load_into([](DecoderOptions& o) { o.vocab = 12; }),
      "checkpoint is of another model: tensor decoder.token.weight is [11, 8] there and [12, 8] here",
      UserError);
  CHECK_THROWS_WITH_AS(load_into([](DecoderOptions& o) { o.layers = 3; }),
                       doctest::Contains("it lacks tensor decoder.layers.2."), UserError);
  CHECK_THROWS_WITH_AS(load_into([](DecoderOptions& o) { o.positions = Positions::none; }),
                       "checkpoint is of another model: it has 1 tensor that this model lacks, first "
                       "'decoder.position.weight'",
                       UserError);
}

TEST_CASE("fine-tuning: a checkpoint with tensors too many and too few, read as far as it goes") {
  const TemporaryFile file("finetuning");
  const Model model(1);
  save_checkpoint(file.path(), model.store, nullptr, {});
  Checkpoint checkpoint = load_checkpoint(file.path());
  ParameterStore store(2);
  store.preload(checkpoint.model);
  store.require_preloaded(false);
  DecoderOptions options = tiny_options();
  options.positions = Positions::none;  // one tensor that is not wanted, and the counter
  options.head_bias = true;             // one that is not there
  const Decoder decoder(Scope(store) / "decoder", options, FeedForwardFactory{});
  const LoadReport report = store.load_report();
  CHECK(report.loaded.size() == model.store.parameters().size() - 1);
  CHECK(report.initialised == std::vector<std::string>{"decoder.head.bias"});
  CHECK(report.ignored == std::vector<std::string>{"counter", "decoder.position.weight"});
  for (const std::string& name : report.loaded)
    CHECK(same_bits(store.find(name)->variable.value(), model.store.find(name)->variable.value()));
  CHECK_THROWS_WITH_AS(
      check_all_claimed(store),
      "checkpoint is of another model: it has 2 tensors that this model lacks, first 'counter'", UserError);
}

TEST_CASE("damaged and foreign files are refused") {
  const TemporaryFile file("damaged");
  const Model model(1);
  save_checkpoint(file.path(), model.store, model.optimizer.get(), {{"step", "0"}});
  const std::string good = file.read();
  CHECK_THROWS_AS(load_checkpoint(file.path() + ".missing"), UserError);
  for (const std::size_t length : {std::size_t{0}, std::size_t{7}, std::size_t{100}, good.size() - 1}) {
    CAPTURE(length);
    file.write(good.substr(0, length));
    CHECK_THROWS_AS(load_checkpoint(file.path()), UserError);
  }
  for (std::size_t at = 0; at < good.size(); at += 1 + good.size() / 200) {
    CAPTURE(at);
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    file.write(bad);
    CHECK_THROWS_AS(load_checkpoint(file.path()), UserError);
  }
  for (const char* other : {"", "a text", "12345678{\"no\": \"header\"}"}) {
    file.write(other);
    CHECK_THROWS_WITH_AS(load_checkpoint(file.path()),
                         doctest::Contains(" is not a checkpoint: expected a run"), UserError);
  }
  file.write(good);
  CHECK_NOTHROW(load_checkpoint(file.path()));
}

TEST_CASE("another format and a newer version are refused with one sentence") {
  const TemporaryFile file("version");
  const auto written = [&](std::map<std::string, std::string> metadata) {
    write_safetensors(file.path(), {{{"w", Tensor::zeros({1}, DType::f32)}}, std::move(metadata)});
    load_checkpoint(file.path());
  };
  CHECK_THROWS_WITH_AS(written({}), doctest::Contains("is not a checkpoint of this program"), UserError);
  CHECK_THROWS_WITH_AS(written({{"format", "pt"}}), doctest::Contains("is not a checkpoint of this program"),
                       UserError);
  const std::string ours(kCheckpointFormat);
  CHECK_THROWS_WITH_AS(written({{"format", ours}, {"version", "2"}}), doctest::Contains("newer version"),
                       UserError);
  for (const char* version : {"", "1x", "0", "-1", "99999999999999999999"})
    CHECK_THROWS_WITH_AS(written({{"format", ours}, {"version", version}}), doctest::Contains("unreadable"),
                         UserError);
  CHECK_NOTHROW(written({{"format", ours}, {"version", "1"}}));
}

}  // namespace simsmoe::nn
