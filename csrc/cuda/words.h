// The words that the kernels are written in; tests/cpp/emulation/words.h has their twins for a C++
// compiler.
//
// A kernel keeps to these, to blockIdx, threadIdx, blockDim and gridDim (one dimension), and to
// __shared__ arrays inside kernels of phases. Most kernels are independent threads, one for each
// item. Where the threads of a block work together, the kernel is a sequence of phases: all threads
// finish one before any begins the next, and only __shared__ variables and PerWarp live from one
// to the next.
#pragma once

#if defined(__CUDACC__)

#define NUCLEISEG_UNROLL _Pragma("unroll")
#define NUCLEISEG_NO_UNROLL _Pragma("unroll 1")
// A kernel's threads a block, and how many blocks a multiprocessor has registers for at least.
#define NUCLEISEG_LAUNCHED_WITH(threads, blocks) __launch_bounds__(threads, blocks)

#include <cuda_pipeline.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/check.h"

namespace nucleiseg::cuda {

// Aligned 32-bit and 64-bit accesses are not torn; volatile keeps them from being cached in
// registers or in the first-level cache.
template <class T>
static __device__ __forceinline__ T relaxed_load(const T* cell) {
  return *static_cast<const volatile T*>(cell);
}

template <class T>
static __device__ __forceinline__ void relaxed_store(T* cell, T value) {
  *static_cast<volatile T*>(cell) = value;
}

// What nobody writes while the kernel runs.
template <class T>
static __device__ __forceinline__ T load_constant(const T* cell) {
  return __ldg(cell);
}

// Each gives what the cell held before. uint64_t is another type than CUDA's unsigned long long.
static __device__ __forceinline__ uint32_t atomic_min(uint32_t* cell, uint32_t value) {
  return atomicMin(cell, value);
}
static __device__ __forceinline__ int16_t atomic_max(int16_t* cell, int16_t value) {
  auto* const bits = reinterpret_cast<unsigned short*>(cell);
  int16_t old = relaxed_load(cell);
  while (old < value) {
    const int16_t seen = old;
    old = static_cast<int16_t>(
        atomicCAS(bits, static_cast<unsigned short>(seen), static_cast<unsigned short>(value)));
    if (old == seen) break;
  }
  return old;
}
static __device__ __forceinline__ uint64_t atomic_max(uint64_t* cell, uint64_t value) {
  return atomicMax(reinterpret_cast<unsigned long long*>(cell), value);
}
static __device__ __forceinline__ uint32_t atomic_add(uint32_t* cell, uint32_t value) {
  return atomicAdd(cell, value);
}
static __device__ __forceinline__ uint64_t atomic_add(uint64_t* cell, uint64_t value) {
  return atomicAdd(reinterpret_cast<unsigned long long*>(cell), value);
}

// Puts a kernel of independent threads into the stream.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, uint32_t threads, cudaStream_t stream,
            Arguments... arguments) {
  kernel<<<static_cast<uint32_t>(blocks), threads, 0, stream>>>(
      static_cast<Parameters>(arguments)...);
  NUCLEISEG_CHECK(cudaGetLastError());
}

// Puts a kernel of phases into the stream.
template <class... Parameters, class... Arguments>
void launch_blocks(void (*kernel)(Parameters...), int64_t blocks, uint32_t threads,
                   cudaStream_t stream, Arguments... arguments) {
  launch(kernel, blocks, threads, stream, arguments...);
}

template <class Body>
static __device__ __forceinline__ void phase(Body&& body) {
  body();
  __syncthreads();
}

// A phase whose body is the work of a whole warp: all that it does is done by the 32 threads
// together (see cuda/matrix.h).
template <class Body>
static __device__ __forceinline__ void warp_phase(Body&& body) {
  phase(body);
}

// A value that each warp has for itself from one warp_phase to the next.
template <class T, int warps>
class PerWarp {
 public:
  __device__ __forceinline__ T& own() { return value_; }

 private:
  T value_;
};

// The greater of each of four bytes with signs.
static __device__ __forceinline__ uint32_t max4(uint32_t a, uint32_t b) { return __vmaxs4(a, b); }

// Begins to copy to shared memory, zeros where there is nothing to be copied. What a thread began
// before its last `later` marks is there after wait_for_copies, which a phase makes known to
// others.
static __device__ __forceinline__ void begin_copy(uint4* to, const uint4* from, bool is_there) {
  __pipeline_memcpy_async(to, from, sizeof(uint4), is_there ? 0 : sizeof(uint4));
}
static __device__ __forceinline__ void mark_copies() { __pipeline_commit(); }
template <int later>
static __device__ __forceinline__ void wait_for_copies() {
  __pipeline_wait_prior(later);
}

}  // namespace nucleiseg::cuda

#else

#include "cuda/check.h"
#include "emulation/words.h"

#endif

namespace nucleiseg::NUCLEISEG_DEVICE {

constexpr uint32_t kThreads = 256;
constexpr int kWarp = 32;

// The item that an independent thread works on; there are a few more threads than items.
static __device__ __forceinline__ int64_t item() {
  return int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}

inline int64_t blocks_for(int64_t items) { return (items + kThreads - 1) / kThreads; }

// One thread for each item.
template <class... Parameters, class... Arguments>
void launch_items(void (*kernel)(Parameters...), int64_t items, cudaStream_t stream,
                  Arguments... arguments) {
  if (items > 0) launch(kernel, blocks_for(items), kThreads, stream, arguments...);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
