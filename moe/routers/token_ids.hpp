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

// The ids of the tokens of this pass: [N]. Throws where the pass has none or too few; who looks an id up checks it.
inline Tensor token_ids(std::string_view router, const nn::ForwardContext& ctx, std::int64_t tokens) {
  SMX_CHECK(ctx.token_ids.defined() && ctx.token_ids.numel() == tokens,
            "[{}] routes by word: expected ids of {} tokens in the context, got {}", router, tokens,
            describe(ctx.token_ids));
  return ctx.token_ids.view({tokens});
}

}  // namespace simsmoe::moe
