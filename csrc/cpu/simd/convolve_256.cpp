// In 256 bits: with AVX-VNNI 32 products an instruction, with AVX2 in three.
//
// Compiled once for each, into a namespace of that name. A block of channels is two registers. Six
// pixels with AVX-VNNI, and four with AVX2, which needs registers between, are sums that stay in
// registers. Includes no part of the C++ library that holds inline functions, as rows.cpp.
#include <immintrin.h>

#include "cpu/simd/convolve.h"
#include "kernels/network.h"

#ifndef NUCLEISEG_LEVEL
#error "NUCLEISEG_LEVEL names the instruction set that this file is compiled for"
#endif

namespace nucleiseg::cpu::NUCLEISEG_LEVEL {
namespace {

using kernels::kLanes;
using kernels::kProducts;

constexpr int kWeightBytes = kLanes * kProducts;
constexpr int kHalf = kLanes / 2;  // lanes of a register
constexpr int kLineShift = 4;
static_assert(1 << kLineShift == kernels::kLineSteps);

// Four bytes of a pixel, in all lanes.
inline __m256i broadcast(const uint8_t* values) {
  int32_t four;
  __builtin_memcpy(&four, values, sizeof(four));
  return _mm256_set1_epi32(four);
}

inline __m256i load(const int8_t* weights) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
}

#if defined(__AVXVNNI__) || defined(__AVX512VNNI__)

constexpr int kPixels = 6;

struct Values {
  __m256i bytes;
};

template <bool kWide>
inline Values values_of(__m256i four) {
  return {four};
}

// sums += four bytes of each of `values` times four of `weights`. As an instruction and not GCC
// 12's intrinsic, for which it copies every sum to another register and back.
template <bool kWide>
inline void add_products(__m256i& sums, Values values, __m256i weights) {
#if defined(__AVX512VNNI__)
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(values.bytes), "v"(weights));
#else
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(values.bytes), "x"(weights));
#endif
}

#else

constexpr int kPixels = 4;

// Of wide values the even bytes and the odd ones, each with 16 bits.
struct Values {
  __m256i bytes, odd;
};

template <bool kWide>
inline Values values_of(__m256i four) {
  if (!kWide) return {four, four};
  return {_mm256_and_si256(four, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(four, 8)};
}

// Two products of values up to 127 fit into 16 bits; wider ones are multiplied as numbers of 16
// bits, since the instruction for bytes would cut their sum off.
template <bool kWide>
inline void add_products(__m256i& sums, Values values, __m256i weights) {
  if (!kWide) {
    const __m256i pairs = _mm256_maddubs_epi16(values.bytes, weights);
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    return;
  }
  const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8);
  const __m256i odd = _mm256_srai_epi16(weights, 8);
  sums = _mm256_add_epi32(sums, _mm256_madd_epi16(values.bytes, even));
  sums = _mm256_add_epi32(sums, _mm256_madd_epi16(values.odd, odd));
}

#endif

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
  const __m256i line = _mm256_srli_epi32(step, kLineShift);
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

// kCount pixels from `pixel` on, of one block.
template <bool kWide, int kCount>
void tile(const RowOfPixels& row, int pixel, int block) {
  __m256i sums[kCount][2];
  const int32_t* begin = row.begin + block * kLanes;
#pragma GCC unroll 6
  for (int p = 0; p < kCount; ++p) {
    sums[p][0] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(begin));
    sums[p][1] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(begin + kHalf));
  }
  const int64_t stride = int64_t{row.advance} * row.column_stride;
  const int64_t step_weights = int64_t{row.blocks_of_weight} * kWeightBytes;
  const int8_t* weights = row.weights + block * kWeightBytes;
  for (int segment = 0; segment < row.segment_count; ++segment) {
    const uint8_t* column = row.segments[segment] + pixel * stride;
    for (int tap = 0; tap < row.taps; ++tap, column += row.column_stride) {
      const uint8_t* values = column;
      for (int step = 0; step < row.steps; ++step) {
        const __m256i low = load(weights);
        const __m256i high = load(weights + kWeightBytes / 2);
#pragma GCC unroll 6
        for (int p = 0; p < kCount; ++p) {
          const Values four = values_of<kWide>(broadcast(values + p * stride));
          add_products<kWide>(sums[p][0], four, low);
          add_products<kWide>(sums[p][1], four, high);
        }
        values += kProducts;
        weights += step_weights;
      }
    }
  }
  put<kCount>(row, sums, block * kLanes, row.out + pixel * row.out_stride + block * kLanes);
}

template <bool kWide>
void block_of_row(const RowOfPixels& row, int block) {
  int pixel = 0;
  // The last pixels are shared out evenly: eight are twice four.
  for (int left = row.width; left > 0; left = row.width - pixel) {
    if (left >= kPixels && left != kPixels + 1 && left != kPixels + 2) {
      tile<kWide, kPixels>(row, pixel, block);
      pixel += kPixels;
    } else if (left >= 4) {
      tile<kWide, 4>(row, pixel, block);
      pixel += 4;
    } else if (left >= 2) {
      tile<kWide, 2>(row, pixel, block);
      pixel += 2;
    } else {
      tile<kWide, 1>(row, pixel, block);
      pixel += 1;
    }
  }
}

}  // namespace

void convolve(const RowOfPixels& row) {
  for (int block = 0; block < row.blocks; ++block) {
    if (row.wide) {
      block_of_row<true>(row, block);
    } else {
      block_of_row<false>(row, block);
    }
  }
}

int64_t exercise(int64_t times) {
  constexpr int kSums = 2 * kPixels;
  __m256i sums[kSums] = {};
  __m256i values = _mm256_set1_epi8(1);
  for (int64_t i = 0; i < times; ++i) {
    asm("" : "+x"(values));  // so that no product is known from the last time
    const Values four = values_of<false>(values);
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) {
      asm("" : "+x"(values));
      add_products<false>(sums[s], four, values);
    }
  }
  for (int s = 0; s < kSums; ++s) asm volatile("" ::"x"(sums[s]));
  return times * kSums * kWeightBytes / 2;
}

}  // namespace nucleiseg::cpu::NUCLEISEG_LEVEL
