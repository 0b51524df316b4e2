// With NEON: with its dot product 16 products an instruction, without it in four.
//
// Compiled once for each, into a namespace of that name. A block of channels is four registers of
// sums. Values above 127 become signed by subtracting kWideShift.
#include <arm_neon.h>

#include "cpu/simd/convolve.h"
#include "kernels/network.h"

#ifndef NUCLEISEG_LEVEL
#error "NUCLEISEG_LEVEL names the instruction set that this file is compiled for"
#endif

namespace nucleiseg::cpu::NUCLEISEG_LEVEL {
namespace {

using kernels::kLanes;
using kernels::kProducts;

constexpr int kQuarter = 4;  // lanes of a register
constexpr int kRegisters = kLanes / kQuarter;
constexpr int kVector = 16;  // bytes of a register
constexpr int kStepsOfVector = kVector / kProducts;

inline int8x16_t as_signed(uint8x16_t values, bool wide) {
  return vreinterpretq_s8_u8(veorq_u8(values, vdupq_n_u8(wide ? kWideShift : 0)));
}

// The four bytes of one step, in all lanes.
inline int8x16_t broadcast(const uint8_t* values, bool wide) {
  uint32_t four;
  __builtin_memcpy(&four, values, sizeof(four));
  return as_signed(vreinterpretq_u8_u32(vdupq_n_u32(four)), wide);
}

#if defined(__ARM_FEATURE_DOTPROD)

constexpr int kPixels = 4;

struct Sums {
  int32x4_t lanes[kRegisters];

  void begin(const int32_t* from) {
    for (int i = 0; i < kRegisters; ++i) lanes[i] = vld1q_s32(from + i * kQuarter);
  }
  int32x4_t total(int i) const { return lanes[i]; }
};

// Adds the products of step kStep of a vector of values.
template <int kStep>
inline void add_step(Sums& sums, int8x16_t values, const int8x16_t* weights) {
  for (int i = 0; i < kRegisters; ++i) {
    sums.lanes[i] = vdotq_laneq_s32(sums.lanes[i], weights[i], values, kStep);
  }
}

inline void add_products(Sums& sums, int8x16_t values, const int8x16_t* weights) {
  add_step<0>(sums, values, weights);
}

#else

constexpr int kPixels = 2;

// Of each lane two sums, of the even pair of products and of the odd one.
struct Sums {
  int32x4_t low[kRegisters], high[kRegisters];

  void begin(const int32_t* from) {
    for (int i = 0; i < kRegisters; ++i) {
      const int32x4_t lanes = vld1q_s32(from + i * kQuarter);
      low[i] = vzip1q_s32(lanes, vdupq_n_s32(0));
      high[i] = vzip2q_s32(lanes, vdupq_n_s32(0));
    }
  }
  int32x4_t total(int i) const { return vpaddq_s32(low[i], high[i]); }
};

inline void add_products(Sums& sums, int8x16_t values, const int8x16_t* weights) {
  for (int i = 0; i < kRegisters; ++i) {
    const int16x8_t low = vmull_s8(vget_low_s8(values), vget_low_s8(weights[i]));
    const int16x8_t high = vmull_high_s8(values, weights[i]);
    sums.low[i] = vpadalq_s16(sums.low[i], low);
    sums.high[i] = vpadalq_s16(sums.high[i], high);
  }
}

template <int kStep>
inline void add_step(Sums& sums, int8x16_t values, const int8x16_t* weights) {
  const int32x4_t four = vdupq_laneq_s32(vreinterpretq_s32_s8(values), kStep);
  add_products(sums, vreinterpretq_s8_s32(four), weights);
}

#endif

inline void load_weights(const int8_t* from, int8x16_t* weights) {
  for (int i = 0; i < kRegisters; ++i) weights[i] = vld1q_s8(from + i * kVector);
}

// Adds step kStep of each pixel's values.
template <int kStep, int kCount>
inline void add_step_of_all(Sums* sums, const int8x16_t* values, const int8_t* from) {
  int8x16_t weights[kRegisters];
  load_weights(from, weights);
#pragma GCC unroll 4
  for (int p = 0; p < kCount; ++p) add_step<kStep>(sums[p], values[p], weights);
}

// Adds a column's products, of kCount pixels that are `stride` bytes apart.
template <int kCount>
inline void add_column(const RowOfPixels& row, const uint8_t* values, int64_t stride,
                       const int8_t* weights, Sums* sums) {
  const int64_t next = int64_t{row.blocks_of_weight} * kWeightBytes;
  int step = 0;
  for (; step + kStepsOfVector <= row.steps; step += kStepsOfVector) {
    int8x16_t vectors[kCount];
#pragma GCC unroll 4
    for (int p = 0; p < kCount; ++p) {
      vectors[p] = as_signed(vld1q_u8(values + p * stride), row.wide);
    }
    add_step_of_all<0, kCount>(sums, vectors, weights);
    add_step_of_all<1, kCount>(sums, vectors, weights + next);
    add_step_of_all<2, kCount>(sums, vectors, weights + 2 * next);
    add_step_of_all<3, kCount>(sums, vectors, weights + 3 * next);
    values += kVector;
    weights += kStepsOfVector * next;
  }
  for (; step < row.steps; ++step) {
    int8x16_t weight[kRegisters];
    load_weights(weights, weight);
#pragma GCC unroll 4
    for (int p = 0; p < kCount; ++p) {
      add_products(sums[p], broadcast(values + p * stride, row.wide), weight);
    }
    values += kProducts;
    weights += next;
  }
}

// Of four channels, within the layer's range.
inline int32x4_t rounded(const RowOfPixels& row, int32x4_t sums, int first) {
  const float32x4_t factors = vld1q_f32(row.factors + first);
  const float32x4_t offsets = vld1q_f32(row.offsets + first);
  const int32x4_t nearest = vcvtnq_s32_f32(vfmaq_f32(offsets, vcvtq_f32_s32(sums), factors));
  return vminq_s32(vmaxq_s32(nearest, vdupq_n_s32(row.low)), vdupq_n_s32(row.high));
}

inline void put(const RowOfPixels& row, const Sums& sums, int first, uint8_t* out) {
  int32x4_t found[kRegisters];
  for (int i = 0; i < kRegisters; ++i) {
    found[i] = rounded(row, sums.total(i), first + i * kQuarter);
  }
  if (row.lines) {
    int32_t logits[kLanes];
    for (int i = 0; i < kRegisters; ++i) vst1q_s32(logits + i * kQuarter, found[i]);
    for (int i = 0; i < kLanes; ++i) {
      out[i] = static_cast<uint8_t>(kernels::probability(logits[i], *row.lines));
    }
    return;
  }
  const int16x8_t low = vcombine_s16(vmovn_s32(found[0]), vmovn_s32(found[1]));
  const int16x8_t high = vcombine_s16(vmovn_s32(found[2]), vmovn_s32(found[3]));
  const int8x16_t bytes = vcombine_s8(vmovn_s16(low), vmovn_s16(high));
  const auto zero = static_cast<uint8_t>(row.zero);
  vst1q_u8(out, vaddq_u8(vreinterpretq_u8_s8(bytes), vdupq_n_u8(zero)));
}

// kCount pixels from `pixel` on, of one block.
template <int kCount>
void tile(const RowOfPixels& row, int pixel, int block) {
  Sums sums[kCount];
  const int32_t* begin = row.wide ? row.shifted_begin : row.begin;
  for (int p = 0; p < kCount; ++p) sums[p].begin(begin + block * kLanes);
  const int64_t stride = int64_t{row.advance} * row.column_stride;
  const int64_t column_weights = int64_t{row.steps} * row.blocks_of_weight * kWeightBytes;
  const int8_t* weights = row.weights + block * kWeightBytes;
  for (int segment = 0; segment < row.segment_count; ++segment) {
    const uint8_t* values = row.segments[segment] + pixel * stride;
    for (int tap = 0; tap < row.taps; ++tap) {
      add_column<kCount>(row, values + tap * row.column_stride, stride, weights, sums);
      weights += column_weights;
    }
  }
  for (int p = 0; p < kCount; ++p) {
    put(row, sums[p], block * kLanes, row.out + (pixel + p) * row.out_stride + block * kLanes);
  }
}

}  // namespace

void convolve(const RowOfPixels& row) {
  for (int block = 0; block < row.blocks; ++block) {
    int pixel = 0;
    for (; pixel + kPixels <= row.width; pixel += kPixels) tile<kPixels>(row, pixel, block);
    for (; pixel < row.width; ++pixel) tile<1>(row, pixel, block);
  }
}

int64_t exercise(int64_t times) {
  Sums sums[kPixels] = {};
  int8x16_t weights[kRegisters];
  for (int8x16_t& one : weights) one = vdupq_n_s8(1);
  for (int64_t i = 0; i < times; ++i) {
    int8x16_t values = weights[0];
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; ++p) {
      asm("" : "+w"(values));  // so that no product is known from the last time
      add_products(sums[p], values, weights);
    }
  }
  for (const Sums& one : sums) {
    for (int i = 0; i < kRegisters; ++i) asm volatile("" ::"w"(one.total(i)));
  }
  return times * kPixels * kWeightBytes;
}

}  // namespace nucleiseg::cpu::NUCLEISEG_LEVEL
