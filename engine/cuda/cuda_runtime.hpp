#pragma once
// The seven calls of DeviceRuntime on an NVIDIA GPU. The CUDA runtime is linked as a shared library, so a
// machine without a driver starts as quickly, and asking for a GPU there is one clear error.

#include "engine/device.hpp"

namespace simsmoe::cuda {

int device_count();  // 0 without a driver or a GPU
// Throws UserError when there is no such GPU here.
DeviceRuntime& device_runtime(int index);

}  // namespace simsmoe::cuda
