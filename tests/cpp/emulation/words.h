// The words of CUDA C++ that the kernels use, for a C++ compiler: the twin of csrc/cuda/words.h,
// which says what each means.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <tuple>

#include "emulation/cuda_runtime.h"
#include "emulation/machine.h"
#include "emulation/order.h"
#include "emulation/workers.h"

#define NUCLEISEG_UNROLL
#define NUCLEISEG_NO_UNROLL
#define NUCLEISEG_LAUNCHED_WITH(threads, blocks)
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
// A block's threads run inside one call of the kernel, whose local variables they share.
#define __shared__

namespace emulation {

struct Index {
  uint32_t x;
};

inline thread_local Index block_index{};
inline thread_local Index thread_index{};
inline thread_local Index block_size{};
inline thread_local Index grid_size{};

}  // namespace emulation

#define blockIdx emulation::block_index
#define threadIdx emulation::thread_index
#define blockDim emulation::block_size
#define gridDim emulation::grid_size

namespace nucleiseg::emulated {

template <class T>
T relaxed_load(const T* cell) {
  return __atomic_load_n(cell, __ATOMIC_RELAXED);
}

template <class T>
void relaxed_store(T* cell, T value) {
  __atomic_store_n(cell, value, __ATOMIC_RELAXED);
}

template <class T>
T load_constant(const T* cell) {
  return *cell;
}

// GCC has no atomic minimum.
template <class T, class Better>
T relaxed_choose(T* cell, T value, Better better) {
  T old = relaxed_load(cell);
  while (better(value, old) && !__atomic_compare_exchange_n(cell, &old, value, true,
                                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}

template <class T>
T atomic_min(T* cell, T value) {
  return relaxed_choose(cell, value, [](T a, T b) { return a < b; });
}

template <class T>
T atomic_max(T* cell, T value) {
  return relaxed_choose(cell, value, [](T a, T b) { return a > b; });
}

template <class T>
T atomic_add(T* cell, T value) {
  return __atomic_fetch_add(cell, value, __ATOMIC_RELAXED);
}

inline void set_indices(uint64_t thread, uint32_t blocks, uint32_t threads) {
  block_index.x = static_cast<uint32_t>(thread / threads);
  thread_index.x = static_cast<uint32_t>(thread % threads);
  grid_size.x = blocks;
  block_size.x = threads;
}

// Runs a kernel of independent threads.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, uint32_t threads, cudaStream_t stream,
            Arguments... arguments) {
  const std::tuple<Parameters...> values(arguments...);
  enqueue(stream, [=] {
    const auto grid = static_cast<uint32_t>(blocks);
    const uint64_t count = uint64_t{grid} * threads;
    const Order order(count, emulation::next_order());
    emulation::share_out(count, [&](uint64_t i) {
      set_indices(order[i], grid, threads);
      std::apply(kernel, values);
    });
  });
}

// Runs a kernel of blocks whose threads work together in phases: it is called once a block.
template <class... Parameters, class... Arguments>
void launch_blocks(void (*kernel)(Parameters...), int64_t blocks, uint32_t threads,
                   cudaStream_t stream, Arguments... arguments) {
  const std::tuple<Parameters...> values(arguments...);
  enqueue(stream, [=] {
    const auto grid = static_cast<uint32_t>(blocks);
    const Order order(grid, emulation::next_order());
    emulation::share_out(grid, [&](uint64_t i) {
      set_indices(order[i] * threads, grid, threads);
      std::apply(kernel, values);
    });
  });
}

// Calls the body for the first of each group of a block's threads.
template <class Body>
void phase_of_groups(uint32_t group, Body&& body) {
  const uint32_t block = block_index.x;
  const uint32_t blocks = grid_size.x;
  const uint32_t threads = block_size.x;
  const uint32_t groups = threads / group;
  const Order order(groups, emulation::next_order());
  emulation::share_out(groups, [&](uint64_t i) {
    set_indices(uint64_t{block} * threads + order[i] * group, blocks, threads);
    body();
  });
  set_indices(uint64_t{block} * threads, blocks, threads);
}

template <class Body>
void phase(Body&& body) {
  phase_of_groups(1, body);
}

constexpr uint32_t kThreadsOfWarp = 32;

template <class Body>
void warp_phase(Body&& body) {
  phase_of_groups(kThreadsOfWarp, body);
}

template <class T, int warps>
class PerWarp {
 public:
  T& own() { return values_[thread_index.x / kThreadsOfWarp]; }

 private:
  T values_[warps];
};

inline int8_t byte_of(uint32_t word, int i) { return static_cast<int8_t>(word >> (8 * i)); }

inline uint32_t max4(uint32_t a, uint32_t b) {
  uint32_t found = 0;
  for (int i = 0; i < 4; ++i) {
    const auto most = static_cast<uint8_t>(std::max(byte_of(a, i), byte_of(b, i)));
    found |= uint32_t{most} << (8 * i);
  }
  return found;
}

// Copies at once.
inline void begin_copy(uint4* to, const uint4* from, bool is_there) {
  *to = is_there ? *from : uint4{};
}
inline void mark_copies() {}
template <int later>
void wait_for_copies() {}

}  // namespace nucleiseg::emulated
