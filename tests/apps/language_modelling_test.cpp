// What the task that predicts a text says of its data, its validation and its end.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <functional>
#include <new>

#include "apps/data/compression.hpp"
#include "apps/data/unpack.hpp"
#include "apps/interrupt.hpp"
#include "apps/language_modelling.hpp"
#include "tests/apps/support.hpp"

using namespace simsmoe;
using namespace simsmoe::app;

namespace {

// A text whose characters have more than one byte now and then.
Config accented_config(const TemporaryFolder& folder) {
  std::string text = small_text();
  for (std::size_t at = 0; (at = text.find("dog", at)) != std::string::npos;) text.replace(at, 3, "doé");
  Config config = tiny_config(folder.file("text", text));
  config.data.vocab = TokenKind::character;
  return config;
}

}  // namespace

TEST_CASE("language modelling: headline, manifest, metadata and account are those of its text and model") {
  const TemporaryFolder folder;
  const Config config = accented_config(folder);
  const LanguageModelling task(config, kCpu);
  const Dataset& data = task.data();
  const auto vocabulary = data.tokenizer->vocab_size();
  CHECK(vocabulary < 40);
  CHECK(task.headline() == fmt::format("{}: {} tokens to train on, vocabulary {}", config.data.path,
                                       data.train.size(), vocabulary));
  const nlohmann::ordered_json about = task.about_data();
  CHECK(about.at("name") == data.corpus.name());
  CHECK(about.at("path") == config.data.path);
  CHECK(about.at("files") == std::vector<std::string>{config.data.path});
  const std::string fingerprint = fingerprint_of(data.corpus.text(Split::all));
  CHECK(about.at("fingerprint") == fingerprint);
  CHECK(about.at("vocabulary") == vocabulary);
  CHECK(about.at("train_tokens") == data.train.size());
  CHECK(about.at("valid_tokens") == data.valid.size());
  CHECK(task.metadata() == std::map<std::string, std::string>{{"vocabulary", data.tokenizer->description()},
                                                              {"fingerprint", fingerprint}});
  CHECK(task.tokens_per_batch() == 64);
  CHECK(task.account().parameters == task.store().num_elements());
}

TEST_CASE("language modelling: bits per byte count the bytes of a token, bits per character do not") {
  const TemporaryFolder folder;
  const Config config = accented_config(folder);
  const LanguageModelling task(config, kCpu);
  const TrainingBatches batches(task.data().train, config.train.batch, config.train.seq,
                                static_cast<std::uint64_t>(config.train.seed));
  std::uint64_t number = 0;  // of a batch with a character of two bytes
  double bytes = 1.0;
  for (; bytes == 1.0; ++number) {
    REQUIRE(number < 100);
    const std::vector<std::int32_t> targets = batches.at(number).targets.to_vector<std::int32_t>();
    bytes = static_cast<double>(task.data().tokenizer->decode(targets).size()) /
            static_cast<double>(targets.size());
  }
  nn::ForwardContext ctx;
  ctx.training = ctx.collect_metrics = true;
  const double loss = task.loss(number - 1, ctx).value().item();
  CHECK(bytes > 1.0);
  CHECK(bytes != task.data().train.bytes_per_token());
  CHECK(ctx.metrics.read().at("train/bpb") == doctest::Approx(loss / std::log(2.0) / bytes).epsilon(1e-6));
  CHECK(ctx.metrics.read().at("train/bpc") == doctest::Approx(loss / std::log(2.0)).epsilon(1e-6));
  ctx = {};
  task.loss(0, ctx);
  CHECK(ctx.metrics.empty());
}

TEST_CASE("language modelling: a validation reports loss, score, tokens and how alike experts are") {
  const TemporaryFolder folder;
  Config config = accented_config(folder);
  config.moe.experts = 2;  // which share all tokens
  config.train.eval_batches = 1;
  const LanguageModelling task(config, kCpu);
  Config of_whole_text = config;
  of_whole_text.train.eval_batches = 0;
  const Validation part = task.validate(), all = LanguageModelling(of_whole_text, kCpu).validate();
  const auto values = part.metrics.read(), of_all = all.metrics.read();
  CHECK(values.at("valid/tokens") == 64.0);
  CHECK(of_all.at("valid/tokens") == static_cast<double>(task.data().valid.size() - 1));
  CHECK(values.at("valid/bpb") == part.score);
  CHECK(part.score < values.at("valid/bpc"));
  CHECK(values.at("valid/bpc") == doctest::Approx(values.at("valid/loss") / std::log(2.0)));
  CHECK(values.at("valid/perplexity") == doctest::Approx(std::exp(values.at("valid/loss"))));
  CHECK(part.summary == fmt::format("validation {:.4f} bits per byte, {:.4f} bits per character", part.score,
                                    values.at("valid/bpc")));
  const double first = values.at("layers.0.feed_forward/expert_cka"),
               second = values.at("layers.1.feed_forward/expert_cka");
  CHECK(first != second);
  CHECK(values.at("valid/expert_cka") == doctest::Approx((first + second) / 2.0));
  config.train.compare_experts = false;
  CHECK_FALSE(LanguageModelling(config, kCpu).validate().metrics.read().contains("valid/expert_cka"));
}

TEST_CASE("evaluation: bits per byte divide by the bytes of the windows that were read") {
  const TemporaryFolder folder;
  const Config config = accented_config(folder);
  const Dataset data(config.data);
  const Model model(config, data.tokenizer->vocab_size(), kCpu);
  const std::string plain(12, 'o'),
      wide = "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9";
  const auto ratio = [&](const std::string& text, std::int64_t batches) {
    const TokenSequence tokens(*data.tokenizer, text);
    const Evaluation result = evaluate(*model.decoder, EvaluationBatches(tokens, 1, 4, batches), {});
    return *result.bits_per_character / result.bits_per_byte;
  };
  CHECK(ratio(plain + wide, 1) == doctest::Approx(1.0));  // the first window
  CHECK(ratio(wide + plain, 1) == doctest::Approx(2.0));
  CHECK(ratio(plain + wide, 0) == doctest::Approx(35.0 / 23.0));  // no token predicts the first one
  CHECK(ratio(wide + plain, 0) == doctest::Approx(34.0 / 23.0));
  CHECK(ratio("o\u00e9", 0) == doctest::Approx(2.0));
}

TEST_CASE("language modelling: where a token is a byte there are no bits per character") {
  const TemporaryFolder folder;
  const LanguageModelling task(tiny_config(folder.file("text", small_text())), kCpu);
  const Validation validation = task.validate();
  CHECK(!validation.metrics.read().contains("valid/bpc"));
  CHECK(validation.summary == fmt::format("validation {:.4f} bits per byte", validation.score));
  nn::ForwardContext ctx;
  ctx.training = ctx.collect_metrics = true;
  task.loss(0, ctx);
  CHECK(!ctx.metrics.read().contains("train/bpc"));
}

TEST_CASE("an evaluation drops nothing unless it is told to, and then what it drops depends on the batch") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.moe.capacity_factor = 0.5;
  const Dataset data(config.data);
  const Model model(config, data.tokenizer->vocab_size(), kCpu);
  const auto of = [&](std::int64_t batch, double capacity) {
    return evaluate(*model.decoder, EvaluationBatches(data.valid, batch, 16),
                    {.capacity_factor = capacity, .count_experts = true});
  };
  CHECK(of(4, 0.0).nats_per_token == doctest::Approx(of(1, 0.0).nats_per_token).epsilon(1e-5));
  CHECK(of(4, 0.0).dropped == 0.0);
  CHECK(of(4, 0.5).dropped > 0.3);
  CHECK(of(4, 0.5).nats_per_token != of(4, 0.0).nats_per_token);
  CHECK(of(4, 0.5).nats_per_token != doctest::Approx(of(1, 0.5).nats_per_token).epsilon(1e-5));
}

TEST_CASE("language modelling: a validation computes in the dtype of the training") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.train.eval_batches = 0;
  const double exact = LanguageModelling(config, kCpu).validate().score;
  config.train.dtype = Precision::bf16;
  const double rounded = LanguageModelling(config, kCpu).validate().score;
  CHECK(rounded != exact);
  CHECK(rounded == doctest::Approx(exact).epsilon(1e-2));
}

TEST_CASE("an evaluation uses as many experts per token as it is told") {
  const TemporaryFolder folder;
  const Config config = tiny_config(folder.file("text", small_text()));
  const Dataset data(config.data);
  const Model model(config, data.tokenizer->vocab_size(), kCpu);
  const EvaluationBatches batches(data.valid, 4, 16);
  const auto nats = [&](std::int64_t k) {
    return evaluate(*model.decoder, batches, {.experts_per_token = k}).nats_per_token;
  };
  CHECK(nats(0) == nats(config.moe.k));
  CHECK(nats(1) != nats(0));
  CHECK(nats(4) != nats(1));
  const auto counted = [&](std::int64_t k, bool count) {
    return evaluate(*model.decoder, batches, {.experts_per_token = k, .count_experts = count})
        .experts_per_token;
  };
  CHECK(counted(0, true) == static_cast<double>(config.moe.k));
  CHECK(counted(4, true) == 4.0);
  CHECK(counted(4, false) == 0.0);
}

TEST_CASE("language modelling: from the same model, another seed of the training draws another sample") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  const LanguageModelling task(config, kCpu);
  const auto sample_with_seed = [&](std::int64_t seed) {
    config.train.seed = seed;
    std::vector<NamedTensor> tensors = task.store().buffers();
    for (const nn::Parameter& parameter : task.store().parameters())
      tensors.push_back({parameter.variable.name(), parameter.variable.value()});
    return LanguageModelling(config, kCpu, nullptr, tensors).sample();
  };
  CHECK(task.sample().starts_with(config.train.sample_prompt));
  CHECK(sample_with_seed(1) == task.sample());
  CHECK(sample_with_seed(2) != task.sample());
  config.train.sample_tokens = 300;
  const std::string in_f32 = sample_with_seed(1);
  config.train.dtype = Precision::bf16;
  CHECK(sample_with_seed(1) != in_f32);  // it is computed as training computes
  config.train.sample_tokens = 0;
  CHECK(sample_with_seed(1).empty());
}

TEST_CASE(
    "the final validation reads the whole text where that takes its share of the training's time or less") {
  // 1000 batches in all, 16 in every validation, a tenth of the time; a batch takes half a second.
  const auto batches = [](double training_seconds) {
    return final_batches(1000, 16, 0.1, training_seconds, 0.5);
  };
  CHECK(batches(5000.0) == 1000);
  CHECK(batches(4999.0) == 999);
  CHECK(batches(100.0) == 20);
  CHECK(batches(10.0) == 16);  // no fewer than every validation
  CHECK(batches(0.0) == 16);
  CHECK(final_batches(1000, 16, 1.0, 0.0, 0.5) == 1000);
  CHECK(final_batches(1000, 16, 0.0, 1e9, 0.5) == 16);
  CHECK(final_batches(1000, 0, 0.0, 0.0, 0.5) == 1000);  // every validation reads the whole text
  CHECK(final_batches(10, 16, 0.1, 1.0, 0.5) == 10);
  CHECK(final_batches(1000, 16, 0.1, 0.0, 0.0) == 16);  // 0 / 0: nothing is known
}

TEST_CASE(
    "language modelling: a run ends with the whole validation text beside what compressors make of it") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.train.eval_batches = 1;
  const LanguageModelling task(config, kCpu);
  const std::string text = task.data().corpus.text(Split::valid).bytes();
  const auto tokens = static_cast<std::int64_t>(text.size()) - 1;
  Config whole = config;
  whole.train.eval_batches = 0;
  const double score = LanguageModelling(whole, kCpu).validate().score;
  const Ending ending = task.ending({.training_seconds = 1e9, .validation_seconds = 1.0});
  CHECK(ending.lines == fmt::format("validation  {:.4f} bits per byte (all {} tokens)\n"
                                    "gzip -9     {:.4f} bits per byte of the same text\n"
                                    "xz -9e      {:.4f} bits per byte of the same text\n",
                                    score, tokens, gzip_bits_per_byte(text), xz_bits_per_byte(text)));
  CHECK(ending.figures.at("valid/bpb") == score);
  CHECK(ending.figures.at("valid/tokens") == tokens);
  CHECK(ending.figures.at("valid/windows") == (tokens + 15) / 16);
  CHECK(ending.figures.at("valid/windows_of_text") == (tokens + 15) / 16);
}

TEST_CASE(
    "language modelling: a run ends with as much of the validation text as its share of the time allows") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.file("text", small_text()));
  config.train.eval_batches = 2;
  const LanguageModelling task(config, kCpu);
  const std::int64_t tokens = task.data().valid.size() - 1, windows = (tokens + 15) / 16;
  config.train.eval_batches = 4;
  const double score = LanguageModelling(config, kCpu).validate().score;
  // A batch takes 5 seconds, a tenth of the training is 20 and something: 4 batches of 4 windows.
  const Ending ending = task.ending({.training_seconds = 204.0, .validation_seconds = 10.0});
  CHECK(ending.lines == fmt::format("validation  {:.4f} bits per byte (16 of {} windows, 256 of {} tokens)\n",
                                    score, windows, tokens));
  CHECK(ending.figures.at("valid/windows") == 16);
  CHECK(ending.figures.at("valid/windows_of_text") == windows);
  CHECK(ending.figures.at("valid/tokens") == 256);
  // Where nobody has measured a validation, it is done now; a billionth of a second is never enough for more.
  CHECK(task.ending({.training_seconds = 1e-9, .validation_seconds = 0.0}).figures.at("valid/windows") == 8);
  config.train.final_share = 1.0;
  CHECK(LanguageModelling(config, kCpu)
            .ending({.training_seconds = 1e-9, .validation_seconds = 0.0})
            .figures.at("valid/windows") == windows);
}

TEST_CASE("language modelling: what an interrupt was asked for does not begin its final validation") {
  const TemporaryFolder folder;
  const LanguageModelling task(tiny_config(folder.file("text", small_text())), kCpu);
  const InterruptRequests interrupts;
  ::raise(SIGTERM);
  CHECK_THROWS_AS(task.ending({.training_seconds = 1e9, .validation_seconds = 1.0}), Interrupted);
  CHECK_THROWS_AS(compared(Text(std::string("text"))), Interrupted);
}

TEST_CASE("long work tells how far it is, and ends where the listener throws") {
  const TemporaryFolder folder;
  const Config config = tiny_config(folder.file("text", small_text()));
  const Dataset data(config.data);
  const Model model(config, data.tokenizer->vocab_size(), kCpu);
  const EvaluationBatches batches(data.valid, 4, 16);
  std::string text = small_text();
  while (text.size() < 300'000) text += text;
  const auto size = static_cast<std::int64_t>(text.size());
  std::string packed;                                                                  // many members
  const std::string member("\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0", 20);  // of an empty text
  while (packed.size() < (4 << 20)) packed += member;
  const std::int64_t piece_of_packed = 1 << 20, packed_size = std::ssize(packed);
  struct Work {
    std::int64_t first, last, total;  // what it is to tell
    std::function<void(const Watch&)> run;
  };
  const std::int64_t piece = 1 << 16, pieces = (size + piece - 1) / piece;
  for (const Work& work :
       {Work{0, (pieces - 1) * piece, size, [&](const Watch& w) { gzip_bits_per_byte(text, w); }},
        Work{0, (pieces - 1) * piece, size, [&](const Watch& w) { xz_bits_per_byte(text, w); }},
        Work{piece_of_packed, packed_size, packed_size,
             [&](const Watch& w) { unpack(Text(packed), Packing::gzip, "packed", w); }},
        Work{1, pieces, pieces, [&](const Watch& w) { fingerprint_of(Text(text), kHashedWhole, w); }},
        Work{1, batches.size(), batches.size(),
             [&](const Watch& w) { evaluate(*model.decoder, batches, {.watch = w}); }}}) {
    std::vector<std::int64_t> told;
    work.run([&](std::int64_t done, std::int64_t total) {
      CHECK(total == work.total);
      told.push_back(done);
    });
    REQUIRE(told.size() > 3);
    CHECK(told.front() == work.first);
    CHECK(told.back() == work.last);
    CHECK(std::ranges::is_sorted(told));
    int calls = 0;
    CHECK_THROWS_AS(work.run([&](std::int64_t, std::int64_t) {
      if (++calls == 2) throw Interrupted();
    }),
                    Interrupted);
    CHECK(calls == 2);
  }
}

TEST_CASE("no compressor that fails ends the comparison") {
  const auto lines = compared(
      Text(std::string("text")),
      {{"one", [](std::string_view, const Watch&) -> double { throw std::bad_alloc(); }},
       {"two", [](std::string_view, const Watch&) -> double { throw Error("[two] odd"); }},
       {"three",
        [](std::string_view text, const Watch&) { return 0.5 * static_cast<double>(text.size()); }}});
  CHECK(lines ==
        "one         left out: not enough memory\n"
        "two         left out: [two] odd\n"
        "three       2.0000 bits per byte of the same text\n");
}

TEST_CASE("language modelling: a long text is not compressed") {
  const TemporaryFolder folder;
  std::string text;
  while (text.size() < (5 << 20)) text += small_text();
  Config config = tiny_config(folder.file("text", text));
  config.data.valid_fraction = 0.9;
  config.train.batch = 1;
  config.train.seq = 1 << 15;
  config.model.pattern = "f";
  const LanguageModelling task(config, kCpu);
  CHECK(task.ending({.training_seconds = 1e9, .validation_seconds = 1.0}).lines.find("gzip") ==
        std::string::npos);
}
