// What a launch of one layer of the integer network is given.
//
// Tensors are (count, height, width, channels) bytes with signs, without gaps or borders. Channels
// are a multiple of 16, and 16 of them are a unit, which is read and written in one access.
#pragma once

#include <cstdint>

#include "cuda/check.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

constexpr int kUnit = 16;
constexpr int kTile = 8;  // output columns of a product of matrices

// How sums become levels, for each output channel.
struct Levels {
  const float* factors;
  const float* offsets;
  int32_t low;
  int32_t high;
  const uint8_t* probabilities;  // of logits from `low` on, for the last layer
};

// A convolution of 3 x 3 or of single pixels. A transposed one is two of the latter, one for each
// row that a row becomes: the two pixels that a pixel becomes there are its outputs.
struct Convolution {
  const uint4* sources[2];
  int32_t source_count;
  int32_t units;  // of a pixel of a source
  int32_t count;
  int32_t height;
  int32_t width;
  // [column block][source][chunk][slice][row]: units of which each row is for an output column.
  const uint4* weights;
  Levels levels;
  uint8_t* out;
  int32_t columns;        // that a pixel has in a row of the output
  int32_t out_rows;       // that a row becomes
  int64_t enough_blocks;  // to keep the device busy
};

// A shape that the kernels are compiled for.
struct Form {
  int taps;    // pixels under the kernel, 9 or 1
  int slices;  // units of a pixel that are in shared memory at once, 1 or 2
  int tiles;   // of output columns that a block of threads computes
};

// Slices that a chunk's weights have: they come in pairs.
constexpr int padded_slices(const Form& form) { return (form.taps * form.slices + 1) / 2 * 2; }

struct Stem {
  const uint8_t* image;  // (count, 2 * height, 2 * width, 3)
  int32_t count;
  int32_t height;
  int32_t width;
  // [column block][slice][column], the words of a column one row after the other.
  const uint4* weights;
  const int32_t* begin;  // what the sums begin with
  Levels levels;
  uint8_t* out;
  int32_t columns;
};

// Words of a row of three or six pixels of the image.
constexpr int stem_words(int side) { return (3 * side + 3) / 4; }
// Slices of the words of all rows; they come in pairs.
constexpr int stem_slices(int side) { return (side * stem_words(side) + 7) / 8 * 2; }
// Tiles of output columns that a block of threads computes.
constexpr int stem_tiles(int64_t columns) { return columns % 32 == 0 ? 4 : 2; }

// Each puts one layer into the stream.
void convolve(const Convolution& work, const Form& form, cudaStream_t stream);
// `side` is 3 or 6.
void stem(const Stem& work, int side, cudaStream_t stream);
// The greatest of 2 x 2; height and width are those of the output.
void pool(const uint4* source, int64_t count, int64_t height, int64_t width, int64_t units,
          uint4* out, cudaStream_t stream);

}  // namespace nucleiseg::NUCLEISEG_DEVICE
