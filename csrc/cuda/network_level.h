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

// Reads neighbours that are at a multiple of 8 bytes, or of 16 where there are four of them.
template <int count>
__device__ __forceinline__ void load_floats(const float* from, float (&to)[count]) {
  using Word = typename Side<count % 4 == 0 ? 16 : 8>::Word;
  NUCLEISEG_UNROLL for (int i = 0; i < count * 4 / static_cast<int>(sizeof(Word)); ++i) {
    const Word word = load_constant(reinterpret_cast<const Word*>(from) + i);
    memcpy(to + i * static_cast<int>(sizeof(Word)) / 4, &word, sizeof word);
  }
}

// Writes `count` neighbouring columns from `column` on, of the last layer their probabilities;
// `out` is where the first goes.
template <bool is_last, int count>
__device__ __forceinline__ void write_levels(const int32_t (&sums)[count], const Levels& levels,
                                             int column, uint8_t* out) {
  float factors[count];
  float offsets[count];
  load_floats(levels.factors + column, factors);
  load_floats(levels.offsets + column, offsets);
  uint8_t bytes[count];
  NUCLEISEG_UNROLL for (int i = 0; i < count; ++i) {
    const int32_t level = kernels::level(sums[i], factors[i], offsets[i], levels.low, levels.high);
    bytes[i] = is_last ? load_constant(levels.probabilities + (level - levels.low))
                       : static_cast<uint8_t>(level);
  }
  typename Side<count>::Word word;
  memcpy(&word, bytes, sizeof word);
  *reinterpret_cast<typename Side<count>::Word*>(out) = word;
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
