#pragma once
// For routers that read which word a token is.

#include "moe/options.hpp"
#include "nn/context.hpp"

namespace simsmoe::moe {

inline void require_vocabulary(std::string_view router, const nn::Site& site) {
  if (site.vocab < 1)
    throw UserError(
        fmt::format("moe.router = {} routes by word and needs the size of the vocabulary", router));
}

// The ids of the tokens of this pass: [N]. Throws where the pass has none or others.
inline Tensor token_ids(std::string_view router, const nn::ForwardContext& ctx, std::int64_t tokens,
                        std::int64_t vocab) {
  SMX_CHECK(ctx.token_ids.defined() && ctx.token_ids.numel() == tokens,
            "[{}] routes by word: expected ids of {} tokens in the context, got {}", router, tokens,
            describe(ctx.token_ids));
  for (const std::int64_t id : ctx.token_ids.to_vector<std::int64_t>())
    SMX_CHECK(id >= 0 && id < vocab, "[{}] token id {} is outside of the vocabulary of {}", router, id,
              vocab);
  return ctx.token_ids.view({tokens});
}

}  // namespace simsmoe::moe
