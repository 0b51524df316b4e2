// What the 256-bit levels of the convolution share: registers of weights and values, and rounding.
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

constexpr int kHalf = kLanes / 2;  // lanes of a register

// For loops that are written for registers of any size.
using Vector = __m256i;
constexpr int kRegisters = 2;  // of a block

// Four bytes of a pixel, in all lanes.
inline __m256i broadcast(const uint8_t* values) {
  int32_t four;
  __builtin_memcpy(&four, values, sizeof(four));
  return _mm256_set1_epi32(four);
}

inline __m256i load(const int8_t* weights) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
}

inline __m256i rounded(const RowOfPixels& row, __m256i sums, int first) {
  const __m256 factors = _mm256_loadu_ps(row.factors + first);
  const __m256 offsets = _mm256_loadu_ps(row.offsets + first);
  return _mm256_cvtps_epi32(_mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), factors, offsets));
}

// kernels::probability of 32-bit logits. Each slope is read as the upper half of 32 bits, so that
// nothing is read behind the table.
inline __m256i probabilities(const kernels::Lines& lines, __m256i logits) {
  const __m256i limit = _mm256_set1_epi32(kernels::kLogitLimit);
  const __m256i size = _mm256_min_epi32(_mm256_abs_epi32(logits), limit);
  const __m256i step = _mm256_add_epi32(size, _mm256_set1_epi32(kernels::kFirstStep));
  const __m256i line = _mm256_srli_epi32(step, kernels::kLineShift);
  const __m256i along = _mm256_and_si256(step, _mm256_set1_epi32(kernels::kLineSteps - 1));
  const auto look_up = [&](const uint16_t* table) {
    return _mm256_i32gather_epi32(reinterpret_cast<const int*>(table), line, sizeof(uint16_t));
  };
  const __m256i begin = _mm256_and_si256(look_up(lines.begins), _mm256_set1_epi32(0xffff));
  const __m256i slope = _mm256_srli_epi32(look_up(lines.slopes - 1), 16);
  const __m256i height = _mm256_add_epi32(begin, _mm256_mullo_epi32(slope, along));
  const __m256i found = _mm256_srli_epi32(height, kernels::kLineBits);
  const __m256i other = _mm256_sub_epi32(_mm256_set1_epi32(255), found);
  return _mm256_blendv_epi8(found, other, _mm256_srai_epi32(logits, 31));
}

// kLanes channels of two pixels, of two registers each: saturation is the upper limit.
inline __m256i levels(const RowOfPixels& row, const __m256i* first, const __m256i* second) {
  const __m256i one = _mm256_packs_epi32(first[0], first[1]);
  const __m256i other = _mm256_packs_epi32(second[0], second[1]);
  __m256i bytes;
  if (row.lines) {
    bytes = _mm256_packus_epi16(one, other);
  } else {
    bytes = _mm256_max_epi8(_mm256_packs_epi16(one, other),
                            _mm256_set1_epi8(static_cast<char>(row.low)));
    bytes = _mm256_add_epi8(bytes, _mm256_set1_epi8(static_cast<char>(row.zero)));
  }
  // Packing leaves four channels of each pixel side by side, in each half.
  return _mm256_permutevar8x32_epi32(bytes, _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0));
}

// Writes kLanes channels of some pixels.
template <int kCount>
inline void put(const RowOfPixels& row, const __m256i (*sums)[2], int first, uint8_t* out) {
  __m256i found[kCount + 1][2];
#pragma GCC unroll 6
  for (int pixel = 0; pixel < kCount; ++pixel) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      found[pixel][half] = rounded(row, sums[pixel][half], first + half * kHalf);
      if (row.lines) found[pixel][half] = probabilities(*row.lines, found[pixel][half]);
    }
  }
#pragma GCC unroll 3
  for (int pixel = 0; pixel < kCount; pixel += 2) {
    const bool last = pixel + 1 == kCount;
    const __m256i bytes = levels(row, found[pixel], found[last ? pixel : pixel + 1]);
    auto* to = reinterpret_cast<__m128i*>(out + pixel * row.out_stride);
    _mm_storeu_si128(to, _mm256_castsi256_si128(bytes));
    if (last) continue;
    to = reinterpret_cast<__m128i*>(out + (pixel + 1) * row.out_stride);
    _mm_storeu_si128(to, _mm256_extracti128_si256(bytes, 1));
  }
}

inline void store(Vector vector, uint32_t* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), vector);
}

// Writes kLanes channels of four pixels.
inline void put_four(const RowOfPixels& row, const Vector (*sums)[kRegisters], int first,
                     uint8_t* out) {
  put<4>(row, sums, first, out);
}

}  // namespace
}  // namespace nucleiseg::cpu
