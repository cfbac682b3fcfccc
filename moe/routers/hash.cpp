// Hash layer: the word itself says which experts it goes to, through a table that is drawn once.
//
//   S_t = table[id_t],  w_tj = 1/k               table: i32 [V, k], k different experts per word
//
// Nothing is learned and nothing can collapse; a strong and humbling baseline. The table is part of the checkpoint.
// (The gate vendored with the published code draws a table per position of the batch, which sends a word elsewhere
// every time; it is not offered.) Source: Roller et al. 2021 (arXiv 2106.04426), section 3.1.

#include <numeric>

#include "moe/routers/routers.hpp"
#include "moe/routers/token_ids.hpp"
#include "ops/index.hpp"

namespace simsmoe::moe {

namespace {

// k different experts of E for every word: the beginning of a random permutation.
Tensor draw_table(std::int64_t vocab, std::int64_t k, std::int64_t num_experts, RandomKey key) {
  std::vector<std::int32_t> table;
  std::vector<std::int32_t> deck(static_cast<std::size_t>(num_experts));
  for (std::int64_t id = 0; id < vocab; ++id) {
    std::iota(deck.begin(), deck.end(), 0);
    for (std::int64_t j = 0; j < k; ++j) {
      const auto at = static_cast<std::uint64_t>(id * num_experts + j);
      const auto left = static_cast<std::uint64_t>(num_experts - j);
      const std::uint64_t pick = static_cast<std::uint64_t>(j) + (random_bits(key, 0, at) * left >> 32);
      std::swap(deck[static_cast<std::size_t>(j)], deck[pick]);
      table.push_back(deck[static_cast<std::size_t>(j)]);
    }
  }
  return Tensor::from(table, {vocab, k});
}

class HashRouter : public Router {
 public:
  HashRouter(const nn::Scope& scope, const MoeOptions& o, const nn::Site& site)
      : dtype_(scope.store().dtype()) {
    require_vocabulary("hash", site);
    table_ = scope.buffer("table", {site.vocab, o.k}, DType::i32,
                          [e = o.experts](const Shape& shape, DType, RandomKey key) {
                            return draw_table(shape[0], shape[1], e, key);
                          });
  }

  RouterOutput route(const Variable& x, const Experts& /*experts*/, nn::ForwardContext& ctx) const override {
    const std::int64_t tokens = x.size(0), k = table_.size(1);
    const Tensor weights = Tensor::full({tokens, k}, 1.0 / static_cast<double>(k), dtype_, x.device());
    return {.weights = Variable(weights),
            .experts = ops::index_select(table_, token_ids("hash", ctx, tokens)),
            .logits = {},
            .balance = 0.0};
  }

  nn::Account account() const override { return {}; }

 private:
  Tensor table_;  // i32 [V, k]
  DType dtype_;
};

}  // namespace

RouterKind hash_router() {
  return router_kind<HashRouter>("hash", {.any_k = false,
                                          .map_bias = false,
                                          .order = false,
                                          .scores = false,
                                          .z_loss = false,
                                          .balance = BalanceSource::none,
                                          .taught_by_selection = false});
}

}  // namespace simsmoe::moe
