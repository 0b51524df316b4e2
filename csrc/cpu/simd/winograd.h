// A 3 x 3 convolution of 4 x 4 pixels at once: Winograd's minimal filtering in whole numbers.
//
// F(4 x 4, 3 x 3) of Lavin and Gray 2016 (doi:10.1109/CVPR.2016.435) multiplies 36 times where the
// plain sum does 144 times. Its fractions are cleared: the kernel's transform is scaled so that all
// numbers fit into 16 bits, and what comes out is kScale times the sum, modulo 2^32. As kScale is 9
// times 64, a product with the inverse of 9 and a shift give the sum exactly, if it is below
// kMostSum. So the bytes are those of the plain sum.
#pragma once

#include <cstdint>

#include "cpu/simd/convolve.h"

namespace nucleiseg::cpu {

constexpr int kStrip = 4;                 // pixels a side of a tile of outputs
constexpr int kPatch = kStrip + 2;        // and of the inputs that it depends on
constexpr int kPlaces = kPatch * kPatch;  // products of a tile
constexpr int kChunk = 12;                // tiles that are done together
constexpr int kPair = 2;                  // input channels that are multiplied at once
constexpr int kMostSum = 1 << 25;

// Of the kernel, by rows; the rows of the input's transform add up to at most 10 in absolute value,
// these to at most 12, so 16 bits hold 10 * 10 * 128 and 12 * 12 * 127.
constexpr int kKernelTransform[kPatch][3] = {{6, 0, 0}, {-4, -4, -4}, {-4, 4, -4},
                                             {1, 2, 4}, {1, -2, 4},   {0, 0, 12}};

// Four rows of outputs.
struct TileStrip {
  // The six rows of each source, one after the other, at the column before the first.
  const uint8_t* const* rows;
  const uint8_t* zeros;  // of each source: the byte that stands for zero
  int sources;
  int channels;  // of each source, a multiple of kLanes
  int tiles;
  const int16_t* weights;  // [block][kPlaces][pair of channels][kLanes][kPair]
  int blocks;              // of this call
  RowOfPixels rounding;    // `out` is the first row's
  int64_t out_row;         // bytes from one row of outputs to the next
  int16_t* values;         // scratch: [kPlaces][kChunk][channels of all sources]
  uint32_t* sums;          // scratch: [kPlaces][kChunk][kLanes]
};

}  // namespace nucleiseg::cpu
