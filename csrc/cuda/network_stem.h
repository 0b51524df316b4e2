// The first layer: the image's convolution at stride 2. What both ways of adding up share.
//
// A pixel sees the bytes of three or six of the image's pixels, of three channels each, in each of
// as many rows: a run of words. The next pixel's run begins 6 bytes further on. The image's bytes
// are without signs: 128 is taken from each, also where there is no image, and its products are in
// what the sums begin with.
#pragma once

#include "cuda/network_level.h"
#include "cuda/network_work.h"
#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

constexpr int kStemRows = 8;  // of a block's pixels
constexpr int kStemColumns = 32;
constexpr int kStemThreads = 128;
constexpr int kRunStep = 6;  // bytes that two neighbours' runs begin apart
constexpr uint32_t kSigns = 0x80808080u;

template <int side_>
struct StemShape {
  static constexpr int side = side_;
  static constexpr int before = (side - 2) / 2;  // pixels that the image is padded by
  static constexpr int words = stem_words(side);
  static constexpr int slices = stem_slices(side);
  // Bytes from a word's begin to the first pixel's run.
  static constexpr int lead = 3 * before % 4 == 0 ? 0 : 2;
  static constexpr int rows = 2 * (kStemRows - 1) + side;
  // With what a pair of pixels reads beyond its runs.
  static constexpr int row_words = (kRunStep * (kStemColumns - 2)) / 4 + words + 2;
};

// The pixels and the output columns of a block.
struct StemPlace {
  uint32_t block;  // of output columns
  uint32_t tile;
  int32_t row;
  int32_t column;

  static __device__ __forceinline__ StemPlace of_block(const Stem& work, int outputs) {
    StemPlace place;
    uint32_t rest = blockIdx.x;
    const auto blocks = static_cast<uint32_t>(work.columns / outputs);
    place.block = rest % blocks;
    rest /= blocks;
    const uint32_t across = (static_cast<uint32_t>(work.width) + kStemColumns - 1) / kStemColumns;
    place.column = static_cast<int32_t>(rest % across) * kStemColumns;
    rest /= across;
    const uint32_t down = (static_cast<uint32_t>(work.height) + kStemRows - 1) / kStemRows;
    place.row = static_cast<int32_t>(rest % down) * kStemRows;
    place.tile = rest / down;
    return place;
  }
};

inline int64_t stem_blocks(const Stem& work, int outputs) {
  const int64_t across = (work.width + kStemColumns - 1) / kStemColumns;
  const int64_t down = (work.height + kStemRows - 1) / kStemRows;
  return work.count * down * across * (work.columns / outputs);
}

template <class Shape>
__device__ __forceinline__ void load_image(const Stem& work, const StemPlace& place,
                                           uint32_t* words) {
  const int32_t height = 2 * work.height;
  const int32_t row_words = 2 * work.width * 3 / 4;
  const auto* const image =
      reinterpret_cast<const uint32_t*>(work.image) + int64_t{place.tile} * height * row_words;
  const int32_t first = (kRunStep * place.column - 3 * Shape::before - Shape::lead) / 4;
  constexpr int count = Shape::rows * Shape::row_words;
  NUCLEISEG_UNROLL for (int turn = 0; turn < (count + kStemThreads - 1) / kStemThreads; ++turn) {
    const int i = turn * kStemThreads + static_cast<int>(threadIdx.x);
    if (i >= count) break;
    const int32_t row = 2 * place.row + i / Shape::row_words - Shape::before;
    const int32_t word = first + i % Shape::row_words;
    const bool inside = 0 <= row && row < height && 0 <= word && word < row_words;
    words[i] = (inside ? load_constant(image + row * row_words + word) : 0) ^ kSigns;
  }
}

// Writes `count` sums, from a column on, of a pixel of the block.
template <int count>
__device__ __forceinline__ void write_stem(const Stem& work, const StemPlace& place, int row,
                                           int column, int output, const int32_t (&sums)[count]) {
  const int32_t at_row = place.row + row;
  const int32_t at_column = place.column + column;
  if (at_row >= work.height || at_column >= work.width) return;
  const int64_t pixel = (int64_t{place.tile} * work.height + at_row) * work.width + at_column;
  write_levels<false>(sums, work.levels, output, work.out + pixel * work.columns + output);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
