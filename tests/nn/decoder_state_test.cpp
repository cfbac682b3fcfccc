// The state of a decoder: handed in, returned, copied, saved; and an attention of one's own that keeps memory.

#include "nn/decoder_state.hpp"

#include "nn/checkpoint.hpp"
#include "ops/attention.hpp"
#include "ops/layout.hpp"
#include "tests/nn/helpers.hpp"

namespace simsmoe::nn {

using testing::max_difference;
using testing::same_bits;
using testing::TemporaryFile;
using testing::tiny_options;
using testing::tokens;

namespace {

// Keeps the inputs of all earlier positions, as Transformer-XL does (Dai et al. 2019, section 3.2): keys and values of
// [memory, x] from today's maps, no gradient into the memory.
class MemoryAttention : public Attention {
 public:
  MemoryAttention(const Scope& scope, std::int64_t dim)
      : dim_(dim), q_(scope / "q", dim, dim), kv_(scope / "kv", dim, 2 * dim) {}

  Attended forward(const Variable& x, const Past& past, ForwardContext& ctx) const override {
    const std::int64_t B = x.size(0), T = x.size(1);
    const Variable all =
        past.kept.defined() && past.position > 0 ? ops::concat({Variable(past.kept), x}, 1) : x;
    const Variable q = ops::reshape(q_(x, ctx), {B, T, 2, dim_ / 2}),
                   kv = ops::reshape(kv_(all, ctx), {B, all.size(1), 4, dim_ / 2});
    const Variable y = ops::attention({q}, {.x = kv, .count = 2}, {.x = kv, .first = 2});
    return {y, past.kept.defined() ? all.value().clone() : Tensor()};
  }
  Tensor begin(std::int64_t batch, std::int64_t) const override {
    return Tensor::zeros({batch, 1, dim_}, DType::f64);
  }
  Account account(std::int64_t) const override { return {}; }

 private:
  std::int64_t dim_;
  Linear q_, kv_;
};

struct Model {
  explicit Model(bool memory, DecoderOptions options = tiny_options()) : store(5, DType::f64) {
    AttentionFactory attention;
    if (memory)
      attention = [](const Scope& scope, const Site& site) -> std::unique_ptr<Attention> {
        return std::make_unique<MemoryAttention>(scope, site.dim);
      };
    decoder = std::make_unique<Decoder>(Scope(store), std::move(options), FeedForwardFactory{}, attention);
  }

  ParameterStore store;
  std::unique_ptr<Decoder> decoder;
};

// Columns [from, to) of ids [B, T].
Tensor columns(const Tensor& ids, std::int64_t from, std::int64_t to) {
  std::vector<std::int32_t> part;
  for (std::int64_t b = 0; b < ids.size(0); ++b)
    for (std::int64_t t = from; t < to; ++t) part.push_back(ids.data<std::int32_t>()[b * ids.size(1) + t]);
  return Tensor::from(part, {ids.size(0), to - from});
}

std::vector<Tensor> gradients_of_second_part(const Model& model, const Tensor& ids, bool recompute) {
  ForwardContext ctx;
  const DecoderState state = model.decoder->hidden(columns(ids, 0, 3), model.decoder->begin(2, 6), ctx).state;
  ctx = {};
  ctx.training = true;
  ctx.recompute = recompute;
  Tape tape;
  const Decoder::Part part = model.decoder->hidden(columns(ids, 3, 6), state, ctx);
  for (const Tensor& kept : part.state.kept) CHECK(kept.size(1) == 6);
  tape.backward(part.hidden, testing::normal(part.hidden.shape(), "dy"));
  std::vector<Tensor> gradients;
  for (const Parameter& parameter : model.store.parameters()) {
    CAPTURE(parameter.variable.name());
    const Tensor gradient = parameter.variable.grad();
    if (parameter.variable.name() == "head.weight") continue;
    REQUIRE(gradient.defined());
    CHECK(max_difference(gradient, Tensor::zeros_like(gradient)) > 0.0);
    gradients.push_back(gradient.clone());
  }
  model.store.clear_grads();
  return gradients;
}

}  // namespace

TEST_CASE("a sequence in parts gives what the whole gives, whatever attention keeps") {
  for (const bool memory : {false, true}) {
    const Model model(memory);
    ForwardContext ctx;
    const Tensor ids = tokens(2, 6, 11);
    const Tensor whole = model.decoder->hidden(ids, ctx).value();
    DecoderState state = model.decoder->begin(2, 6);
    for (const auto& [from, to] : {std::pair{0, 2}, {2, 5}, {5, 6}}) {
      const Decoder::Part part = model.decoder->hidden(columns(ids, from, to), state, ctx);
      CHECK(state.position == from);
      CHECK(part.state.position == to);
      CHECK(max_difference(part.hidden.value(), ops::slice(Variable(whole), 1, from, to).value()) < 1e-12);
      CHECK(same_bits(part.hidden.value(),
                      model.decoder->hidden(columns(ids, from, to), state, ctx).hidden.value()));
      state = part.state;
    }
    CHECK(max_difference(model.decoder->head(Variable(whole), ctx).value(),
                         model.decoder->logits(ids, ctx).value()) == 0.0);
  }
}

TEST_CASE("a part is trained behind its memory, and computed again with the same bits") {
  const Model model(true);
  const Tensor ids = tokens(2, 6, 11);
  const std::vector<Tensor> kept = gradients_of_second_part(model, ids, false),
                            again = gradients_of_second_part(model, ids, true);
  REQUIRE(kept.size() == again.size());
  for (std::size_t i = 0; i < kept.size(); ++i) CHECK(same_bits(kept[i], again[i]));
}

TEST_CASE("a state goes through a checkpoint and on with the same bits") {
  for (const bool memory : {false, true}) {
    const TemporaryFile file("state");
    const Model model(memory);
    ForwardContext ctx;
    const Tensor ids = tokens(2, 6, 11);
    const DecoderState state = model.decoder->step(columns(ids, 0, 4), model.decoder->begin(2, 6), ctx).state;
    save_checkpoint(file.path(), model.store, nullptr, {}, state.tensors());
    const Tensor expected = model.decoder->step(columns(ids, 4, 6), state, ctx).logits;

    Checkpoint checkpoint = load_checkpoint(file.path());
    Model loaded(memory);
    CHECK(checkpoint.model.size() == model.store.parameters().size());
    const DecoderState back = DecoderState::from(checkpoint.state);
    CHECK(back.position == 4);
    CHECK(same_bits(loaded.decoder->step(columns(ids, 4, 6), back, ctx).logits, expected));
  }
}

TEST_CASE("two continuations of one state need a clone") {
  const Model model(false);
  ForwardContext ctx;
  const Tensor ids = tokens(2, 6, 11), others = tokens(2, 6, 11, 9);
  const DecoderState state = model.decoder->step(columns(ids, 0, 3), model.decoder->begin(2, 6), ctx).state;
  const DecoderState copy = state.clone();
  const DecoderState one = model.decoder->step(columns(ids, 3, 5), state, ctx).state;
  const DecoderState two = model.decoder->step(columns(others, 3, 5), copy, ctx).state;
  CHECK(copy.position == 3);
  const Tensor whole = model.decoder->logits(ids, ctx).value().view({12, 11});
  const Tensor last = model.decoder->step(columns(ids, 5, 6), one, ctx).logits;
  CHECK(max_difference(last.slice0(0, 1), whole.slice0(5, 6)) < 1e-12);
  CHECK(max_difference(last.slice0(1, 2), whole.slice0(11, 12)) < 1e-12);
}

TEST_CASE("a state that a file does not hold whole is refused by name") {
  const Model model(false);
  const std::vector<NamedTensor> good = model.decoder->begin(1, 6).tensors();
  const auto refused = [&](const std::function<void(std::vector<NamedTensor>&)>& change,
                           const char* message) {
    std::vector<NamedTensor> tensors = good;
    change(tensors);
    CHECK_THROWS_WITH_AS(DecoderState::from(tensors), message, UserError);
  };
  REQUIRE(good.size() == 3);
  refused([](auto& t) { t.clear(); }, "the state of a decoder lacks 'position'");
  refused([](auto& t) { t.erase(t.begin() + 1); }, "the state of a decoder lacks 'kept.0'");
  refused([](auto& t) { t[0].tensor = Tensor::zeros({1}, DType::f32); },
          "the state of a decoder has an unreadable 'position'");
  refused([](auto& t) { t[0].tensor = Tensor::from(std::vector<std::int64_t>{-1}, {1}); },
          "the state of a decoder has an unreadable 'position'");
}

}  // namespace simsmoe::nn
