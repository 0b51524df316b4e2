// With AVX-512 VNNI: 64 products an instruction.
//
// Eight pixels of two blocks of channels, or sixteen of one, are sixteen sums that stay in
// registers and are independent, which hides the five cycles that each instruction takes. Includes
// no part of the C++ library that holds inline functions, as rows.cpp.
#include "cpu/simd/vectors_512.h"

namespace nucleiseg::cpu::avx512vnni {
namespace {

// sums += four bytes of each of `values` times four of `weights`. As an instruction and not GCC
// 12's intrinsic, for which it copies every sum to another register and back.
inline void add_products(__m512i& sums, __m512i values, __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(values), "v"(weights));
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
  __m512i sums[kSums];
#pragma GCC unroll 16
  for (int s = 0; s < kSums; ++s) sums[s] = _mm512_setzero_si512();
  const __m512i values = _mm512_set1_epi8(1);
  for (int64_t i = 0; i < times; ++i) {
#pragma GCC unroll 16
    for (int s = 0; s < kSums; ++s) add_products(sums[s], values, values);
  }
#pragma GCC unroll 16
  for (int s = 0; s < kSums; ++s) asm volatile("" ::"v"(sums[s]));
  return times * kSums * kWeightBytes;
}

}  // namespace nucleiseg::cpu::avx512vnni
