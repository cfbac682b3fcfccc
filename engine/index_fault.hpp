#pragma once
// What becomes of an index outside of its range on a device, where the host does not wait for a check: the first fault is
// noted in memory there, and whoever reads numbers back (nn::read_scalars) reads the note with them and throws. Until
// then kernels have to leave such an index alone: they read and write nothing for it. On the CPU a check throws at once.

#include <cstdint>
#include <string_view>

#include "engine/tensor.hpp"

namespace simsmoe {

struct IndexFault {
  static constexpr std::int64_t kWords = 4;
  std::int64_t op = 0;                          // index_fault_op(); 0: no fault
  std::int64_t place = 0, value = 0, size = 0;  // indices[place] = value is outside of [0, size)
};

// The note of a device: i64 [4], the members of IndexFault in order. Zeros at first.
Tensor index_fault_note(Device device);
// The same if anybody asked for it before, else undefined: there is nothing to read.
Tensor noted_index_fault(Device device);

// The number that stands for the name of an op in a note.
std::int64_t index_fault_op(std::string_view op);

// Throws "[op] indices[place] = value is outside [0, size)" when there is a fault, and clears the note of the device.
void throw_index_fault(Device device, const IndexFault& fault);

}  // namespace simsmoe
