// In 256 bits: with AVX-VNNI 32 products an instruction, with AVX2 in three.
//
// Compiled once for each, into a namespace of that name. A block of channels is two registers. Six
// pixels with AVX-VNNI, and four with AVX2, which needs registers between, are sums that stay in
// registers. Includes no part of the C++ library that holds inline functions, as rows.cpp.
#include "cpu/simd/vectors_256.h"

#ifndef NUCLEISEG_LEVEL
#error "NUCLEISEG_LEVEL names the instruction set that this file is compiled for"
#endif

namespace nucleiseg::cpu::NUCLEISEG_LEVEL {
namespace {

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
  __m256i sums[kSums];
#pragma GCC unroll 12
  for (int s = 0; s < kSums; ++s) sums[s] = _mm256_setzero_si256();
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
#pragma GCC unroll 12
  for (int s = 0; s < kSums; ++s) asm volatile("" ::"x"(sums[s]));
  return times * kSums * kWeightBytes / 2;
}

}  // namespace nucleiseg::cpu::NUCLEISEG_LEVEL
