// Sixteen bytes of values, read or written in one access.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

constexpr int kWide = 16;

// Loops over the values must be unrolled: an array indexed at run time would lie in local memory.
template <class T>
struct alignas(kWide) Pack {
  static constexpr int kCount = kWide / sizeof(T);

  T values[kCount];

  static __device__ __forceinline__ Pack load(const void* from) {
    const uint4 words = *static_cast<const uint4*>(from);
    Pack pack;
    memcpy(pack.values, &words, sizeof words);
    return pack;
  }

  __device__ __forceinline__ void store(void* to) const {
    uint4 words;
    memcpy(&words, values, sizeof words);
    *static_cast<uint4*>(to) = words;
  }
};

inline bool is_wide(const void* memory) { return reinterpret_cast<uintptr_t>(memory) % kWide == 0; }

}  // namespace nucleiseg::NUCLEISEG_DEVICE
