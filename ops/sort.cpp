#include "ops/sort.hpp"

#include <limits>
#include <numeric>

#include "engine/profile.hpp"
#include "ops/check.hpp"
#include "ops/index.hpp"
#include "ops/layout.hpp"

// The mathematics of the family: values_j = x_indices(j), the choice being constant nearby, so that the
// backward pass is that of take_along_last. Kernels work along the last axis; another is exchanged with it.

namespace simsmoe::ops {

namespace {

// x with the axis and the last one exchanged: a permutation that is its own inverse.
std::vector<int> exchanged_with_last(int rank, int axis) {
  std::vector<int> order(static_cast<std::size_t>(rank));
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[static_cast<std::size_t>(axis)], order.back());
  return order;
}

Tensor permuted(const Tensor& x, const std::vector<int>& order) {
  Shape shape = x.shape();
  for (int i = 0; i < x.rank(); ++i) shape = shape.with(i, x.size(order[static_cast<std::size_t>(i)]));
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  SMX_DISPATCH(permute, y.device(), x, order, GradTarget{y, false});
  return y;
}

// Axis counted from the first; indices must fit into i32.
int check_sorted_axis(std::string_view op, const Tensor& x, int axis) {
  axis = check_axis(op, x, axis);
  SMX_CHECK(x.size(axis) <= std::numeric_limits<std::int32_t>::max(),
            "[{}] expected less than 2^31 elements along the axis, got {}", op, describe(x));
  return axis;
}

// values = x[..., indices], where a kernel has already put both.
Variable record_choice(std::string_view op, const Variable& x, const Tensor& values, const Tensor& indices) {
  //  values_(r, j) = x_(r, indices(r, j))
  //  dx_(r, i) = the sum over j with indices(r, j) = i of dvalues_(r, j)
  return record(op, {x}, values, [indices](BackwardContext& ctx) {
    SMX_DISPATCH(take_along_last_backward, indices.device(), ctx.grad_output(), indices, ctx.target(0));
  });
}

}  // namespace

TopK topk(const Variable& x, std::int64_t k, int axis) {
  const profile::Scope scope("topk");
  check_float("topk", x);
  axis = check_sorted_axis("topk", x.value(), axis);
  SMX_CHECK(1 <= k && k <= x.size(axis), "[topk] expected 1 <= k <= {}, got {}", x.size(axis), k);
  if (axis != x.rank() - 1) {
    const std::vector<int> order = exchanged_with_last(x.rank(), axis);
    const TopK best = topk(permute(x, order), k);
    return {permute(best.values, order), permuted(best.indices, order)};
  }
  const Tensor values = Tensor::empty(x.shape().with(-1, k), x.dtype(), x.device());
  const Tensor indices = Tensor::empty(values.shape(), DType::i32, x.device());
  SMX_DISPATCH(topk_forward, values.device(), x.value(), values, indices);
  return {record_choice("topk", x, values, indices), indices};
}

Sorted sort(const Variable& x, int axis, bool descending) {
  const profile::Scope scope("sort");
  check_float("sort", x);
  axis = check_sorted_axis("sort", x.value(), axis);
  if (axis != x.rank() - 1) {
    const std::vector<int> order = exchanged_with_last(x.rank(), axis);
    const Sorted sorted = sort(permute(x, order), -1, descending);
    return {permute(sorted.values, order), permuted(sorted.indices, order)};
  }
  const Tensor values = Tensor::empty_like(x.value());
  const Tensor indices = Tensor::empty(x.shape(), DType::i32, x.device());
  SMX_DISPATCH(sort_forward, values.device(), x.value(), descending, values, indices);
  return {record_choice("sort", x, values, indices), indices};
}

Tensor argsort(const Tensor& x, int axis, bool descending) {
  const profile::Scope scope("argsort");
  axis = check_sorted_axis("argsort", x, axis);
  if (axis != x.rank() - 1) {
    const std::vector<int> order = exchanged_with_last(x.rank(), axis);
    return permuted(argsort(permuted(x, order), -1, descending), order);
  }
  Tensor indices = Tensor::empty(x.shape(), DType::i32, x.device());
  SMX_DISPATCH(sort_forward, indices.device(), x, descending, Tensor(), indices);
  return indices;
}

}  // namespace simsmoe::ops
