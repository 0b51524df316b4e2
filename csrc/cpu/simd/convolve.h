// The inner loop of every layer of the integer network: some pixels of one row.
//
// A pixel's output channels are sums over `taps` columns of each of several "segments", rows of
// columns that lie side by side: three columns in one of the three rows of a 3 x 3 convolution, or
// one of a transposed one. The next pixel's columns begin `advance` columns further on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/network.h"

namespace nucleiseg::cpu {

// What brings bytes into the range of signed ones.
constexpr int kWideShift = 128;

constexpr int kWeightBytes = kernels::kLanes * kernels::kProducts;  // of a step and a block

struct RowOfPixels {
  const uint8_t* const* segments;  // where each begins for the first pixel
  int segment_count;
  int taps;
  int advance;
  int column_stride;  // bytes
  int steps;          // of kProducts bytes, in a column
  // [segment][tap][step][block][kLanes][kProducts], blocks of kLanes output channels.
  const int8_t* weights;
  int blocks;            // of this call
  int blocks_of_weight;  // from one step's weights to the next's
  bool wide;  // values may be above 127: saturating and signed products must not see them
  // Of each output channel: what the sum begins with, of values as they are or of values from which
  // kWideShift was subtracted, and how it becomes a level.
  const int32_t* begin;
  const int32_t* shifted_begin;
  const float* factors;
  const float* offsets;
  int32_t low, high;
  int32_t zero;                 // added to each level
  const kernels::Lines* lines;  // where given, levels are logits, and become probabilities
  int width;                    // pixels
  uint8_t* out;                 // kLanes bytes a block, blocks side by side
  int out_stride;               // from one pixel's output to the next's
};

struct TileStrip;

struct Convolution {
  const char* level;
  void (*convolve)(const RowOfPixels& row);
  // Does in registers what the inner loop does, so many times, and returns the multiplications: how
  // fast no convolution can be.
  int64_t (*exercise)(int64_t times);
  // 3 x 3 convolutions by fewer products (cpu/simd/winograd.h), if there are such, and from how
  // many pixels a row on they are faster: their weights are eight times as large.
  void (*convolve_strip)(const TileStrip& strip) = nullptr;
  int strip_width = 0;
};

// Those that this CPU can run, weakest first: "portable" at least. All give the same bytes.
std::vector<const Convolution*> convolutions();

// One of them by name, or the best. Throws std::invalid_argument if there is none of the name.
const Convolution& convolution(const std::string& level);

}  // namespace nucleiseg::cpu
