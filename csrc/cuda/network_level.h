// Sums become levels, and are written side by side.
#pragma once

#include <cstring>

#include "cuda/network_work.h"
#include "cuda/words.h"
#include "kernels/network.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

template <int bytes>
struct Side;
template <>
struct Side<2> {
  using Word = uint16_t;
};
template <>
struct Side<4> {
  using Word = uint32_t;
};
template <>
struct Side<8> {
  using Word = uint2;
};
template <>
struct Side<16> {
  using Word = uint4;
};

static __device__ __forceinline__ uint8_t byte_of_sum(int32_t sum, const Levels& levels,
                                                      int column) {
  const int32_t level =
      kernels::level(sum, load_constant(levels.factors + column),
                     load_constant(levels.offsets + column), levels.low, levels.high);
  if (levels.probabilities == nullptr) return static_cast<uint8_t>(level);
  return load_constant(levels.probabilities + (level - levels.low));
}

// Writes `count` neighbouring columns from `column` on; `out` is where the first goes.
template <int count>
__device__ __forceinline__ void write_levels(const int32_t (&sums)[count], const Levels& levels,
                                             int column, uint8_t* out) {
  uint8_t bytes[count];
  NUCLEISEG_UNROLL for (int i = 0; i < count; ++i) {
    bytes[i] = byte_of_sum(sums[i], levels, column + i);
  }
  typename Side<count>::Word word;
  memcpy(&word, bytes, sizeof word);
  *reinterpret_cast<typename Side<count>::Word*>(out) = word;
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
