// What lets one definition of a kernel serve the CPU and the GPU.
#pragma once

// On the host a kernel is internal and always inlined: the row loops are compiled once for each
// instruction set, and the linker must never merge their copies of it.
#if defined(__CUDACC__)
#define NUCLEISEG_HOST_DEVICE static __host__ __device__ __forceinline__
#else
#define NUCLEISEG_HOST_DEVICE static inline __attribute__((always_inline))
#endif
