#include "cpu/simd/convolve.h"
#include "kernels/network.h"

namespace nucleiseg::cpu::portable {
namespace {

using kernels::kLanes;
using kernels::kProducts;

void add_products(const RowOfPixels& row, int pixel, int block, int32_t* sums) {
  const int8_t* weights = row.weights + block * kLanes * kProducts;
  for (int segment = 0; segment < row.segment_count; ++segment) {
    const uint8_t* values = row.segments[segment] + pixel * row.advance * row.column_stride;
    for (int tap = 0; tap < row.taps; ++tap, values += row.column_stride) {
      for (int step = 0; step < row.steps; ++step) {
        for (int lane = 0; lane < kLanes; ++lane) {
          for (int i = 0; i < kProducts; ++i) {
            sums[lane] += values[step * kProducts + i] * weights[lane * kProducts + i];
          }
        }
        weights += row.blocks_of_weight * kLanes * kProducts;
      }
    }
  }
}

}  // namespace

// The definition, in plain loops.
void convolve(const RowOfPixels& row) {
  for (int pixel = 0; pixel < row.width; ++pixel) {
    for (int block = 0; block < row.blocks; ++block) {
      int32_t sums[kLanes];
      const int first = block * kLanes;
      for (int lane = 0; lane < kLanes; ++lane) sums[lane] = row.begin[first + lane];
      add_products(row, pixel, block, sums);
      uint8_t* out = row.out + pixel * row.out_stride + first;
      for (int lane = 0; lane < kLanes; ++lane) {
        const int32_t found = kernels::level(sums[lane], row.factors[first + lane],
                                             row.offsets[first + lane], row.low, row.high);
        out[lane] = static_cast<uint8_t>(row.lines ? kernels::probability(found, *row.lines)
                                                   : found + row.zero);
      }
    }
  }
}

int64_t exercise(int64_t times) {
  constexpr int kSteps = 16;
  const uint8_t values[kSteps * kProducts] = {1};
  const int8_t weights[kSteps * kLanes * kProducts] = {1};
  const uint8_t* segment = values;
  RowOfPixels row{};
  row.segments = &segment;
  row.segment_count = row.taps = row.blocks_of_weight = 1;
  row.steps = kSteps;
  row.weights = weights;
  int32_t sums[kLanes] = {};
  for (int64_t i = 0; i < times; ++i) add_products(row, 0, 0, sums);
  asm volatile("" ::"r"(sums) : "memory");
  return times * kSteps * kLanes * kProducts;
}

}  // namespace nucleiseg::cpu::portable
