#include <algorithm>
#include <cstring>

#include "cpu/simd/convolve.h"
#include "kernels/network.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace nucleiseg::cpu::portable {
namespace {

using kernels::kLanes;
using kernels::kProducts;

constexpr int kPixels = 2;  // whose sums are in registers at once

using Sums = int32_t[kPixels][kLanes];

#ifdef __SSE2__

constexpr int kRegisters = 4;  // of weights and of sums: for half of a block's channels
constexpr int kHalf = kLanes / 2;

// Four values as 16 bits each, twice.
__m128i spread(const uint8_t* values) {
  int32_t four;
  std::memcpy(&four, values, sizeof four);
  const __m128i wide = _mm_unpacklo_epi8(_mm_cvtsi32_si128(four), _mm_setzero_si128());
  return _mm_unpacklo_epi64(wide, wide);
}

// Weights of four channels as 16 bits each: two of them in a register.
void widen(const int8_t* weights, __m128i* wide) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(weights));
  wide[0] = _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
  wide[1] = _mm_srai_epi16(_mm_unpackhi_epi8(bytes, bytes), 8);
}

// Adds the halves of each channel's sum, which lie side by side.
void store(const __m128i* parts, int32_t* sums) {
  for (int i = 0; i < kRegisters; i += 2) {
    const __m128 low = _mm_castsi128_ps(parts[i]), high = _mm_castsi128_ps(parts[i + 1]);
    const __m128i even = _mm_castps_si128(_mm_shuffle_ps(low, high, _MM_SHUFFLE(2, 0, 2, 0)));
    const __m128i odd = _mm_castps_si128(_mm_shuffle_ps(low, high, _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i* out = reinterpret_cast<__m128i*>(sums + 2 * i);
    _mm_storeu_si128(out, _mm_add_epi32(_mm_loadu_si128(out), _mm_add_epi32(even, odd)));
  }
}

// For one half of a block's channels. Every x86-64 processor has these instructions.
void add_half(const RowOfPixels& row, int pixel, const int8_t* weights, int32_t* first,
              int32_t* second) {
  const int next = row.width > 1 ? row.advance * row.column_stride : 0;
  const int64_t step_bytes = int64_t{row.blocks_of_weight} * kWeightBytes;
  __m128i one[kRegisters] = {}, other[kRegisters] = {};
  for (int segment = 0; segment < row.segment_count; ++segment) {
    const uint8_t* values = row.segments[segment] + int64_t{pixel} * next;
    for (int tap = 0; tap < row.taps; ++tap, values += row.column_stride) {
      for (int step = 0; step < row.steps; ++step, weights += step_bytes) {
        __m128i wide[kRegisters];
        widen(weights, wide);
        widen(weights + kHalf / 2 * kProducts, wide + 2);
        const __m128i here = spread(values + step * kProducts);
        const __m128i there = spread(values + step * kProducts + next);
        for (int i = 0; i < kRegisters; ++i) {
          one[i] = _mm_add_epi32(one[i], _mm_madd_epi16(wide[i], here));
          other[i] = _mm_add_epi32(other[i], _mm_madd_epi16(wide[i], there));
        }
      }
    }
  }
  store(one, first);
  store(other, second);
}

void add_products(const RowOfPixels& row, int pixel, int block, Sums& sums) {
  const int8_t* weights = row.weights + block * kWeightBytes;
  add_half(row, pixel, weights, sums[0], sums[1]);
  add_half(row, pixel, weights + kHalf * kProducts, sums[0] + kHalf, sums[1] + kHalf);
}

#else

void add_products(const RowOfPixels& row, int pixel, int block, Sums& sums) {
  for (int which = 0; which < std::min(kPixels, std::max(1, row.width)); ++which) {
    int32_t* of_pixel = sums[which];
    const int at = pixel + which;
    const int8_t* weights = row.weights + block * kWeightBytes;
    for (int segment = 0; segment < row.segment_count; ++segment) {
      const uint8_t* values = row.segments[segment] + at * row.advance * row.column_stride;
      for (int tap = 0; tap < row.taps; ++tap, values += row.column_stride) {
        for (int step = 0; step < row.steps; ++step) {
          for (int lane = 0; lane < kLanes; ++lane) {
            for (int i = 0; i < kProducts; ++i) {
              of_pixel[lane] += values[step * kProducts + i] * weights[lane * kProducts + i];
            }
          }
          weights += row.blocks_of_weight * kWeightBytes;
        }
      }
    }
  }
}

#endif

}  // namespace

void convolve(const RowOfPixels& row) {
  for (int begin = 0; begin < row.width; begin += kPixels) {
    // Of an odd number of pixels the last but one is done twice.
    const int pixel = std::max(0, std::min(begin, row.width - kPixels));
    for (int block = 0; block < row.blocks; ++block) {
      Sums sums;
      const int first = block * kLanes;
      for (auto& of_pixel : sums) std::copy_n(row.begin + first, kLanes, of_pixel);
      add_products(row, pixel, block, sums);
      for (int i = 0; i < std::min(kPixels, row.width); ++i) {
        uint8_t* out = row.out + (pixel + i) * row.out_stride + first;
        for (int lane = 0; lane < kLanes; ++lane) {
          const int32_t found = kernels::level(sums[i][lane], row.factors[first + lane],
                                               row.offsets[first + lane], row.low, row.high);
          out[lane] = static_cast<uint8_t>(row.lines ? kernels::probability(found, *row.lines)
                                                     : found + row.zero);
        }
      }
    }
  }
}

int64_t exercise(int64_t times) {
  constexpr int kSteps = 16;
  const uint8_t values[kSteps * kProducts] = {1};  // of both pixels
  const int8_t weights[kSteps * kLanes * kProducts] = {1};
  const uint8_t* segment = values;
  RowOfPixels row{};
  row.segments = &segment;
  row.segment_count = row.taps = row.blocks_of_weight = 1;
  row.width = kPixels;
  row.steps = kSteps;
  row.weights = weights;
  Sums sums = {};
  for (int64_t i = 0; i < times; ++i) add_products(row, 0, 0, sums);
  asm volatile("" ::"r"(sums) : "memory");
  return times * kPixels * kSteps * kLanes * kProducts;
}

}  // namespace nucleiseg::cpu::portable
