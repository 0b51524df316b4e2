// What the 512-bit loops share: registers of weights and values, and rounding.
//
// In a namespace without a name, so that each file has its own, compiled with its own options.
#pragma once

#include <immintrin.h>

#include "cpu/simd/convolve.h"
#include "kernels/network.h"

namespace nucleiseg::cpu {
namespace {

using kernels::kLanes;
using kernels::kProducts;

inline __m512i broadcast(const uint8_t* values) {
  int32_t four;
  __builtin_memcpy(&four, values, sizeof(four));
  return _mm512_set1_epi32(four);
}

// For loops that are written for registers of any size.
using Vector = __m512i;
constexpr int kRegisters = 1;  // of a block

inline __m512i load(const int8_t* weights) { return _mm512_loadu_si512(weights); }

inline __m512i rounded(const RowOfPixels& row, __m512i sums, int first) {
  const __m512 factors = _mm512_loadu_ps(row.factors + first);
  const __m512 offsets = _mm512_loadu_ps(row.offsets + first);
  return _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), factors, offsets));
}

// kernels::probability of 16-bit logits.
inline __m512i probabilities(const kernels::Lines& lines, __m512i logits) {
  const auto look_up = [](const uint16_t* table, __m512i line) {
    return _mm512_permutex2var_epi16(_mm512_loadu_si512(table), line,
                                     _mm512_loadu_si512(table + kernels::kLines / 2));
  };
  __m512i step = _mm512_add_epi16(_mm512_abs_epi16(logits), _mm512_set1_epi16(kernels::kFirstStep));
  step = _mm512_min_epu16(step, _mm512_set1_epi16(kernels::kLogitLimit + kernels::kFirstStep));
  const __m512i line = _mm512_srli_epi16(step, kernels::kLineShift);
  const __m512i along = _mm512_and_si512(step, _mm512_set1_epi16(kernels::kLineSteps - 1));
  const __m512i height = _mm512_add_epi16(look_up(lines.begins, line),
                                          _mm512_mullo_epi16(look_up(lines.slopes, line), along));
  const __m512i found = _mm512_srli_epi16(height, kernels::kLineBits);
  return _mm512_mask_sub_epi16(found, _mm512_movepi16_mask(logits), _mm512_set1_epi16(255), found);
}

// kLanes channels of four pixels: saturation is the upper limit.
inline __m512i levels(const RowOfPixels& row, __m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i low = _mm512_packs_epi32(a, b);
  const __m512i high = _mm512_packs_epi32(c, d);
  __m512i bytes;
  if (row.lines) {
    bytes = _mm512_packus_epi16(probabilities(*row.lines, low), probabilities(*row.lines, high));
  } else {
    bytes = _mm512_max_epi8(_mm512_packs_epi16(low, high),
                            _mm512_set1_epi8(static_cast<char>(row.low)));
    bytes = _mm512_add_epi8(bytes, _mm512_set1_epi8(static_cast<char>(row.zero)));
  }
  // Packing leaves four channels of each pixel side by side, in each quarter.
  const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
  return _mm512_permutexvar_epi32(order, bytes);
}

// Writes kLanes channels of kPixels pixels, one or four.
template <int kPixels, int kBlocks>
inline void put(const RowOfPixels& row, const __m512i (*sums)[kBlocks], int block, int first,
                uint8_t* out) {
  const auto sum = [&](int pixel) { return rounded(row, sums[pixel][block], first); };
  const auto store = [&](int pixel, __m128i quarter) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + pixel * row.out_stride), quarter);
  };
  if (kPixels == 1) {
    const __m512i one = sum(0);
    store(0, _mm512_castsi512_si128(levels(row, one, one, one, one)));
    return;
  }
  const __m512i bytes = levels(row, sum(0), sum(1 % kPixels), sum(2 % kPixels), sum(3 % kPixels));
  if (row.out_stride == kLanes) {
    _mm512_storeu_si512(out, bytes);
    return;
  }
  store(0, _mm512_castsi512_si128(bytes));
  store(1, _mm512_extracti32x4_epi32(bytes, 1));
  store(2, _mm512_extracti32x4_epi32(bytes, 2));
  store(3, _mm512_extracti32x4_epi32(bytes, 3));
}

inline void store(Vector vector, uint32_t* to) { _mm512_storeu_si512(to, vector); }

// Writes kLanes channels of four pixels.
inline void put_four(const RowOfPixels& row, const Vector (*sums)[kRegisters], int first,
                     uint8_t* out) {
  put<4, kRegisters>(row, sums, 0, first, out);
}

}  // namespace
}  // namespace nucleiseg::cpu
