// With AVX-512 VNNI: 64 products an instruction.
//
// Eight pixels of two blocks of channels, or sixteen of one, are sixteen sums that stay in
// registers and are independent, which hides the five cycles that each instruction takes. Includes
// no part of the C++ library that holds inline functions, as rows.cpp.
#include <immintrin.h>

#include "cpu/simd/convolve.h"
#include "kernels/network.h"

namespace nucleiseg::cpu::avx512vnni {
namespace {

using kernels::kLanes;
using kernels::kProducts;

constexpr int kWeightBytes = kLanes * kProducts;
constexpr int kLineShift = 4;
static_assert(1 << kLineShift == kernels::kLineSteps);

inline __m512i broadcast(const uint8_t* values) {
  int32_t four;
  __builtin_memcpy(&four, values, sizeof(four));
  return _mm512_set1_epi32(four);
}

// sums += four bytes of each of `values` times four of `weights`. As an instruction and not GCC
// 12's intrinsic, for which it copies every sum to another register and back.
inline void add_products(__m512i& sums, __m512i values, __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(values), "v"(weights));
}

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
  const __m512i line = _mm512_srli_epi16(step, kLineShift);
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

// kPixels pixels from `pixel` on, kBlocks blocks from `block` on.
template <int kStride, int kTaps, int kAdvance, int kPixels, int kBlocks>
inline void tile(const RowOfPixels& row, int pixel, int block) {
  __m512i sums[kPixels][kBlocks];
#pragma GCC unroll 2
  for (int b = 0; b < kBlocks; ++b) {
    const __m512i begin = _mm512_loadu_si512(row.begin + (block + b) * kLanes);
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) sums[p][b] = begin;
  }
  const int step_weights = row.blocks_of_weight * kWeightBytes;
  const int tap_weights = row.steps * step_weights;
  const int64_t stride = kStride ? kStride : row.column_stride;
  const int8_t* weights = row.weights + block * kWeightBytes;
  for (int segment = 0; segment < row.segment_count; ++segment) {
    const uint8_t* values = row.segments[segment] + pixel * kAdvance * stride;
    for (int step = 0; step < row.steps; ++step) {
      __m512i weight[kTaps][kBlocks];
#pragma GCC unroll 4
      for (int t = 0; t < kTaps; ++t) {
#pragma GCC unroll 2
        for (int b = 0; b < kBlocks; ++b) {
          weight[t][b] = _mm512_loadu_si512(weights + t * tap_weights + b * kWeightBytes);
        }
      }
      // Each value is loaded once, for all the pixels that see it: loads are what limits this.
#pragma GCC unroll 36
      for (int column = 0; column < (kPixels - 1) * kAdvance + kTaps; ++column) {
        const __m512i four = broadcast(values + column * stride);
#pragma GCC unroll 4
        for (int t = 0; t < kTaps; ++t) {
          const int p = (column - t) / kAdvance;
          if (column < t || (column - t) % kAdvance != 0 || p >= kPixels) continue;
#pragma GCC unroll 2
          for (int b = 0; b < kBlocks; ++b) add_products(sums[p][b], four, weight[t][b]);
        }
      }
      values += kProducts;
      weights += step_weights;
    }
    weights += (kTaps - 1) * tap_weights;
  }
  constexpr int kTogether = kPixels % 4 == 0 ? 4 : 1;
  uint8_t* out = row.out + pixel * row.out_stride + block * kLanes;
#pragma GCC unroll 2
  for (int b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; p += kTogether) {
      put<kTogether, kBlocks>(row, sums + p, b, (block + b) * kLanes,
                              out + p * row.out_stride + b * kLanes);
    }
  }
}

template <int kStride, int kTaps, int kAdvance, int kPixels, int kBlocks>
void blocks_of_row(const RowOfPixels& row, int block) {
  int pixel = 0;
  for (; pixel + kPixels <= row.width; pixel += kPixels) {
    tile<kStride, kTaps, kAdvance, kPixels, kBlocks>(row, pixel, block);
  }
  for (; pixel + 4 <= row.width; pixel += 4) {
    tile<kStride, kTaps, kAdvance, 4, kBlocks>(row, pixel, block);
  }
  for (; pixel < row.width; ++pixel) {
    tile<kStride, kTaps, kAdvance, 1, kBlocks>(row, pixel, block);
  }
}

template <int kStride, int kTaps, int kAdvance>
void all_blocks(const RowOfPixels& row) {
  int block = 0;
  for (; block + 2 <= row.blocks; block += 2) {
    blocks_of_row<kStride, kTaps, kAdvance, 8, 2>(row, block);
  }
  if (block < row.blocks) blocks_of_row<kStride, kTaps, kAdvance, 16, 1>(row, block);
}

// By how the pixels of a row follow each other.
template <int kStride>
void all_blocks(const RowOfPixels& row) {
  if (row.taps == 3) return all_blocks<kStride, 3, 1>(row);
  if (row.taps == 1) return all_blocks<kStride, 1, 1>(row);
  all_blocks<kStride, 4, 2>(row);
}

}  // namespace

// Strides that the compiler knows save a few instructions.
void convolve(const RowOfPixels& row) {
  switch (row.column_stride) {
    case 16:
      return all_blocks<16>(row);
    case 32:
      return all_blocks<32>(row);
    case 64:
      return all_blocks<64>(row);
    case 128:
      return all_blocks<128>(row);
    case 256:
      return all_blocks<256>(row);
    default:
      return all_blocks<0>(row);
  }
}

int64_t exercise(int64_t times) {
  constexpr int kSums = 16;
  __m512i sums[kSums] = {};
  const __m512i values = _mm512_set1_epi8(1);
  for (int64_t i = 0; i < times; ++i) {
#pragma GCC unroll 16
    for (int s = 0; s < kSums; ++s) add_products(sums[s], values, values);
  }
  for (int s = 0; s < kSums; ++s) asm volatile("" ::"v"(sums[s]));
  return times * kSums * kWeightBytes;
}

}  // namespace nucleiseg::cpu::avx512vnni
