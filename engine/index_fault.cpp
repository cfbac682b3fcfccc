// One note per device, and names for the numbers in it.

#include "engine/index_fault.hpp"

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace simsmoe {

namespace {

struct Notes {
  std::mutex mutex;
  std::vector<std::pair<Device, Tensor>> of;
  std::vector<std::string> ops;
};

Notes& notes() {
  static Notes all;
  return all;
}

}  // namespace

Tensor noted_index_fault(Device device) {
  const std::lock_guard lock(notes().mutex);
  for (const auto& [at, note] : notes().of)
    if (at == device) return note;
  return {};
}

Tensor index_fault_note(Device device) {
  if (Tensor note = noted_index_fault(device); note.defined()) return note;
  const Tensor note = Tensor::zeros({IndexFault::kWords}, DType::i64, device);
  const std::lock_guard lock(notes().mutex);
  return notes().of.emplace_back(device, note).second;
}

std::int64_t index_fault_op(std::string_view op) {
  const std::lock_guard lock(notes().mutex);
  std::vector<std::string>& ops = notes().ops;
  const auto found = std::ranges::find(ops, op);
  const auto number = found - ops.begin() + 1;  // 0 is no fault
  if (found == ops.end()) ops.emplace_back(op);
  return number;
}

void throw_index_fault(Device device, const IndexFault& fault) {
  if (fault.op == 0) return;
  index_fault_note(device).copy_from(Tensor::zeros({IndexFault::kWords}, DType::i64));
  std::string op;
  {
    const std::lock_guard lock(notes().mutex);
    op = notes().ops.at(static_cast<std::size_t>(fault.op - 1));
  }
  throw Error(
      fmt::format("[{}] indices[{}] = {} is outside [0, {})", op, fault.place, fault.value, fault.size));
}

}  // namespace simsmoe
