#pragma once
// What lets one source line compile for the CPU and, under nvcc, for the GPU as well.

#if defined(__CUDACC__)
#define SMX_HOST_DEVICE __host__ __device__
#else
#define SMX_HOST_DEVICE
#endif
