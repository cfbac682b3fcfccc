#include <algorithm>
#include <span>
#include <vector>

#include "ops/choices.hpp"
#include "ops/cpu_kernel.hpp"

// A few thousand integers: what counts in common places runs on one thread, the rest row by row.

namespace simsmoe::cpu {

namespace {

// The choices of a token, in order.
std::span<const std::int32_t> row_of(const Tensor& experts, std::int64_t token) {
  const std::int64_t k = experts.size(1);
  return {experts.data<std::int32_t>() + token * k, static_cast<std::size_t>(k)};
}

void check_expert(std::string_view op, std::int32_t expert, std::int64_t num_experts) {
  SMX_CHECK(-1 <= expert && expert < num_experts, "[{}] a choice of {} is outside [-1, {})", op, expert,
            num_experts);
}

// f(expert) for every choice of the first `columns` that a token made.
template <class F>
void for_each_choice(std::string_view op, const Tensor& experts, std::int64_t token, std::int64_t columns,
                     std::int64_t num_experts, const F& f) {
  for (const std::int32_t expert : row_of(experts, token).first(static_cast<std::size_t>(columns))) {
    check_expert(op, expert, num_experts);
    if (expert >= 0) f(expert);
  }
}

bool chose(std::span<const std::int32_t> choices, std::int64_t expert) {
  return std::ranges::find(choices, expert) != choices.end();
}

template <class T>
void fill_mask(const Tensor& experts, const Tensor& y) {
  const std::int64_t all = y.size(1);
  T* mask = y.data<T>();
  parallel_rows(y.size(0), all, [&](std::int64_t token) {
    std::fill_n(mask + token * all, all, T{});
    for_each_choice("choice_mask", experts, token, experts.size(1), all,
                    [&](std::int32_t expert) { mask[token * all + expert] = static_cast<T>(1.0f); });
  });
}

}  // namespace

void choice_mask(const Tensor& experts, const Tensor& y) {
  if (y.dtype() == DType::u8)
    fill_mask<std::uint8_t>(experts, y);
  else
    for_float_dtype(y.dtype(), [&]<class T>() { fill_mask<T>(experts, y); });
}

void choice_counts(const Tensor& experts, std::int64_t length, std::int64_t columns, const Tensor& y) {
  const std::int64_t all = y.size(1);
  for_float_dtype(y.dtype(), [&]<class T>() {
    T* counts = y.data<T>();
    parallel_rows(y.size(0), length * columns, [&](std::int64_t group) {
      std::vector<std::int64_t> count(static_cast<std::size_t>(all), 0);  // a bf16 would stop at 256
      for (std::int64_t token = group * length; token < (group + 1) * length; ++token)
        for_each_choice("choice_counts", experts, token, columns, all,
                        [&](std::int32_t expert) { ++count[static_cast<std::size_t>(expert)]; });
      std::ranges::transform(count, counts + group * all,
                             [](std::int64_t n) { return static_cast<T>(static_cast<double>(n)); });
    });
  });
}

void limit_choices(const Tensor& experts, std::int64_t num_experts, std::int64_t capacity, const Tensor& y) {
  std::vector<std::int64_t> taken(static_cast<std::size_t>(num_experts), 0);
  std::ranges::transform(
      experts.host<const std::int32_t>(), y.host<std::int32_t>().begin(), [&](std::int32_t expert) {
        check_expert("limit_choices", expert, num_experts);
        return expert >= 0 && taken[static_cast<std::size_t>(expert)]++ >= capacity ? -1 : expert;
      });
}

void keep_choices(const Tensor& experts, const Tensor& mask, const Tensor& y) {
  std::ranges::transform(experts.host<const std::int32_t>(), mask.host<const std::uint8_t>(),
                         y.host<std::int32_t>().begin(),
                         [](std::int32_t expert, std::uint8_t keep) { return keep != 0 ? expert : -1; });
}

void choices_of_tokens(const Tensor& taken, const Tensor& y) {
  const std::int64_t experts = taken.size(0), tokens = y.size(0);
  const auto choices = y.host<std::int32_t>();
  std::ranges::fill(choices, -1);
  for (std::int64_t e = 0; e < experts; ++e)
    for (const std::int32_t token : row_of(taken, e)) {
      SMX_CHECK(0 <= token && token < tokens, "[choices_of_tokens] token {} is outside [0, {})", token,
                tokens);
      choices[static_cast<std::size_t>(token * experts + e)] = static_cast<std::int32_t>(e);
    }
}

void rows_by_expert(const Tensor& experts, const Tensor& y) {
  const std::int64_t tokens = experts.size(0);
  std::int64_t* rows = y.data<std::int64_t>();
  for (std::int64_t token = 0; token < tokens; ++token)
    for (const std::int32_t expert : row_of(experts, token))
      *rows++ = expert < 0 ? -1 : expert * tokens + token;
}

void with_runner_up(const Tensor& chosen, const Tensor& best, const Tensor& y) {
  const std::int32_t *mine = chosen.data<std::int32_t>(), *two = best.data<std::int32_t>();
  std::int32_t* both = y.data<std::int32_t>();
  for (std::int64_t n = 0; n < y.size(0); ++n) {
    both[2 * n] = mine[n];
    both[2 * n + 1] = two[2 * n] == mine[n] ? two[2 * n + 1] : two[2 * n];
  }
}

void count_pairs(const Tensor& experts, std::int64_t num_experts, const Tensor& y) {
  std::vector<std::int64_t> met(static_cast<std::size_t>(y.numel()), 0);
  for (std::int64_t token = 0; token < experts.size(0); ++token) {
    const auto mine = row_of(experts, token);
    for (std::size_t i = 0; i < mine.size(); ++i) {
      check_expert("count_pairs", mine[i], num_experts);
      for (std::size_t j = 0; j < i; ++j)
        if (mine[i] >= 0 && mine[j] >= 0 && mine[i] != mine[j])
          ++met[static_cast<std::size_t>(
              ops::pair_number(std::min(mine[i], mine[j]), std::max(mine[i], mine[j]), num_experts))];
    }
  }
  for_float_dtype(y.dtype(), [&]<class T>() {
    std::ranges::transform(met, y.data<T>(),
                           [](std::int64_t n) { return static_cast<T>(static_cast<double>(n)); });
  });
}

void tokens_of_pair(const Tensor& experts, std::int64_t a, std::int64_t b, std::int64_t most, RandomKey key,
                    std::uint64_t step, std::uint64_t first, Tensor& tokens) {
  std::vector<std::int64_t> shared;
  for (std::int64_t token = 0; token < experts.size(0); ++token)
    if (const auto mine = row_of(experts, token); chose(mine, a) && chose(mine, b)) shared.push_back(token);
  if (std::ssize(shared) > most) {
    std::ranges::stable_sort(shared, {}, [&](std::int64_t token) {
      return random_bits(key, step, first + static_cast<std::uint64_t>(token));
    });
    shared.resize(static_cast<std::size_t>(most));
    std::ranges::sort(shared);
  }
  tokens = Tensor::from(shared, {std::ssize(shared)});
}

void rows_of_choices(const Tensor& experts, const Tensor& position, const Tensor& tokens, std::int64_t expert,
                     const Tensor& y) {
  const std::int64_t k = experts.size(1);
  std::ranges::transform(
      tokens.host<const std::int64_t>(), y.host<std::int64_t>().begin(), [&](std::int64_t token) {
        SMX_CHECK(0 <= token && token < experts.size(0), "[rows_of_choices] token {} is outside [0, {})",
                  token, experts.size(0));
        const auto mine = row_of(experts, token);
        const auto at = std::ranges::find(mine, expert) - mine.begin();
        return at == k ? std::int64_t{-1} : std::int64_t{position.data<std::int32_t>()[token * k + at]};
      });
}

}  // namespace simsmoe::cpu
