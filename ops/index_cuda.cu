#include "engine/cuda/launch.cuh"
#include "engine/index_fault.hpp"
#include "ops/index.hpp"

// The check of index_cpu.cpp without waiting for its result: one thread per index, striding over the grid. Of several
// faults in one tensor any is noted.

namespace simsmoe::cuda {

namespace {

template <class I>
__global__ void note_outside(const I* indices, std::int64_t n, std::int64_t size, unsigned long long op,
                             std::int64_t* note) {
  for (std::int64_t i = first_item(); i < n; i += item_stride()) {
    const auto value = static_cast<std::int64_t>(indices[i]);
    if (value >= 0 && value < size) continue;
    if (atomicCAS(reinterpret_cast<unsigned long long*>(note), 0ULL, op) != 0ULL) return;
    note[1] = i;
    note[2] = value;
    note[3] = size;
  }
}

}  // namespace

void check_indices(std::string_view op, const Tensor& indices, std::int64_t size) {
  const std::int64_t n = indices.numel();
  const Tensor note = index_fault_note(indices.device());
  for_index_dtype(indices.dtype(), [&]<class I>() {
    launch("check_indices", note_outside<I>, blocks_for(n, kThreads), indices.data<I>(), n, size,
           static_cast<unsigned long long>(index_fault_op(op)), note.data<std::int64_t>());
  });
}

}  // namespace simsmoe::cuda
