#include "ops/choices.hpp"

#include <limits>

#include "engine/profile.hpp"
#include "ops/check.hpp"

// Checks and allocation; the counting is the kernels'.

namespace simsmoe::ops {

namespace {

// i32 [N, K], or the given number of columns.
void check_choices(std::string_view op, const Tensor& experts, std::int64_t columns = -1) {
  SMX_CHECK(experts.defined() && experts.dtype() == DType::i32 && experts.rank() == 2 &&
                (columns < 0 || experts.size(1) == columns),
            "[{}] expected choices i32 [N, {}], got {}", op, columns < 0 ? "K" : fmt::format("{}", columns),
            describe(experts));
}

void check_experts(std::string_view op, std::int64_t num_experts) {
  SMX_CHECK(num_experts >= 1, "[{}] expected at least one expert, got {}", op, num_experts);
}

void check_float_dtype(std::string_view op, DType dtype) {
  SMX_CHECK(is_float(dtype), "[{}] expected a float dtype, got {}", op, name_of(dtype));
}

}  // namespace

Tensor choice_mask(const Tensor& experts, std::int64_t num_experts, DType dtype) {
  const profile::Scope scope("choice_mask");
  check_choices("choice_mask", experts);
  check_experts("choice_mask", num_experts);
  if (dtype != DType::u8) check_float_dtype("choice_mask", dtype);
  Tensor y = Tensor::empty({experts.size(0), num_experts}, dtype, experts.device());
  SMX_DISPATCH(choice_mask, y.device(), experts, y);
  return y;
}

Tensor choice_counts(const Tensor& experts, std::int64_t num_experts, std::int64_t length,
                     std::int64_t columns, DType dtype) {
  const profile::Scope scope("choice_counts");
  check_choices("choice_counts", experts);
  check_experts("choice_counts", num_experts);
  check_float_dtype("choice_counts", dtype);
  SMX_CHECK(length >= 1 && experts.size(0) % length == 0, "[choice_counts] {} tokens are no groups of {}",
            experts.size(0), length);
  SMX_CHECK(0 <= columns && columns <= experts.size(1), "[choice_counts] expected 0 to {} columns, got {}",
            experts.size(1), columns);
  Tensor y = Tensor::empty({experts.size(0) / length, num_experts}, dtype, experts.device());
  SMX_DISPATCH(choice_counts, y.device(), experts, length, columns == 0 ? experts.size(1) : columns, y);
  return y;
}

Tensor limit_choices(const Tensor& experts, std::int64_t num_experts, std::int64_t capacity) {
  const profile::Scope scope("limit_choices");
  check_choices("limit_choices", experts);
  check_experts("limit_choices", num_experts);
  SMX_CHECK(capacity >= 0, "[limit_choices] expected a capacity >= 0, got {}", capacity);
  Tensor y = Tensor::empty_like(experts);
  SMX_DISPATCH(limit_choices, y.device(), experts, num_experts, capacity, y);
  return y;
}

Tensor keep_choices(const Tensor& experts, const Tensor& mask) {
  const profile::Scope scope("keep_choices");
  check_choices("keep_choices", experts);
  SMX_CHECK(mask.defined() && mask.dtype() == DType::u8 && mask.shape() == experts.shape() &&
                mask.device() == experts.device(),
            "[keep_choices] expected a mask u8 {}, got {}", experts.shape(), describe(mask));
  Tensor y = Tensor::empty_like(experts);
  SMX_DISPATCH(keep_choices, y.device(), experts, mask, y);
  return y;
}

Tensor choices_of_tokens(const Tensor& taken, std::int64_t tokens) {
  const profile::Scope scope("choices_of_tokens");
  check_choices("choices_of_tokens", taken);
  SMX_CHECK(tokens >= 0, "[choices_of_tokens] expected a number of tokens, got {}", tokens);
  Tensor y = Tensor::empty({tokens, taken.size(0)}, DType::i32, taken.device());
  SMX_DISPATCH(choices_of_tokens, y.device(), taken, y);
  return y;
}

Tensor rows_by_expert(const Tensor& experts) {
  const profile::Scope scope("rows_by_expert");
  check_choices("rows_by_expert", experts);
  Tensor y = Tensor::empty({experts.numel()}, DType::i64, experts.device());
  SMX_DISPATCH(rows_by_expert, y.device(), experts, y);
  return y;
}

Tensor with_runner_up(const Tensor& chosen, const Tensor& best) {
  const profile::Scope scope("with_runner_up");
  check_choices("with_runner_up", chosen, 1);
  check_choices("with_runner_up", best, 2);
  SMX_CHECK(chosen.size(0) == best.size(0) && chosen.device() == best.device(),
            "[with_runner_up] expected the two best of {} tokens, got {}", chosen.size(0), describe(best));
  Tensor y = Tensor::empty_like(best);
  SMX_DISPATCH(with_runner_up, y.device(), chosen, best, y);
  return y;
}

Tensor count_pairs(const Tensor& experts, std::int64_t num_experts, DType dtype) {
  const profile::Scope scope("count_pairs");
  check_choices("count_pairs", experts);
  check_experts("count_pairs", num_experts);
  check_float_dtype("count_pairs", dtype);
  Tensor y = Tensor::empty({pair_count(num_experts)}, dtype, experts.device());
  SMX_DISPATCH(count_pairs, y.device(), experts, num_experts, y);
  return y;
}

Tensor tokens_of_pair(const Tensor& experts, std::int64_t a, std::int64_t b) {
  return tokens_of_pair(experts, a, b, std::numeric_limits<std::int64_t>::max(), {}, 0);
}

Tensor tokens_of_pair(const Tensor& experts, std::int64_t a, std::int64_t b, std::int64_t most, RandomKey key,
                      std::uint64_t step, std::uint64_t first) {
  const profile::Scope scope("tokens_of_pair");
  check_choices("tokens_of_pair", experts);
  SMX_CHECK(0 <= a && a < b, "[tokens_of_pair] expected a pair in ascending order, got {} and {}", a, b);
  SMX_CHECK(most >= 0, "[tokens_of_pair] expected a largest number, got {}", most);
  Tensor tokens;
  SMX_DISPATCH(tokens_of_pair, experts.device(), experts, a, b, most, key, step, first, tokens);
  return tokens;
}

Tensor rows_of_choices(const Tensor& experts, const Tensor& position, const Tensor& tokens,
                       std::int64_t expert) {
  const profile::Scope scope("rows_of_choices");
  check_choices("rows_of_choices", experts);
  check_choices("rows_of_choices", position, experts.size(1));
  SMX_CHECK(position.size(0) == experts.size(0), "[rows_of_choices] expected positions of {} tokens, got {}",
            experts.size(0), describe(position));
  SMX_CHECK(tokens.defined() && tokens.dtype() == DType::i64 && tokens.rank() == 1,
            "[rows_of_choices] expected tokens i64 [n], got {}", describe(tokens));
  Tensor y = Tensor::empty_like(tokens);
  SMX_DISPATCH(rows_of_choices, y.device(), experts, position, tokens, expert, y);
  return y;
}

}  // namespace simsmoe::ops
