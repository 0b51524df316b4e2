// The first layer by products of matrices: every warp computes two rows of 32 pixels.
//
// A run that begins between two words is read from a copy of the image that is two bytes further
// on.
#include "cuda/matrix.h"
#include "cuda/network_stem.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

constexpr int kTile = 8;
constexpr int kWarpRows = 2;
constexpr int kGroup = 16;  // pixels of a product
constexpr int kStepWords = 8;
static_assert(kStemThreads / kWarp * kWarpRows == kStemRows);

template <class Shape>
__device__ __forceinline__ void copy_between_words(const uint32_t* words, uint32_t* between) {
  constexpr int count = Shape::rows * Shape::row_words;
  for (int i = static_cast<int>(threadIdx.x); i + 1 < count; i += kStemThreads) {
    between[i] = words[i] >> 16 | words[i + 1] << 16;
  }
  if (threadIdx.x == 0) between[count - 1] = 0;
}

// Where the run of a pixel of a row begins, in the image or in its copy, which follows it.
template <class Shape>
__device__ __forceinline__ int begin_of_run(int pixel) {
  const int byte = Shape::lead + kRunStep * pixel;
  return byte / 4 + (byte % 4 == 0 ? 0 : Shape::rows * Shape::row_words);
}

// Where a word of all rows' runs, one after the other, is from the first on. Those past the last
// are multiplied by zeros.
template <class Shape>
__device__ __forceinline__ int offset_of(int word) {
  constexpr int last = Shape::side * Shape::words - 1;
  const int real = word < last ? word : last;
  return real / Shape::words * Shape::row_words + real % Shape::words;
}

template <class Shape, int tiles>
__device__ __forceinline__ void multiply_row(const Stem& work, const StemPlace& place, int row,
                                             const uint32_t* words, const uint4* weights) {
  constexpr int outputs = kTile * tiles;
  constexpr int groups = kStemColumns / kGroup;
  Products<tiles> sums[groups];
  NUCLEISEG_UNROLL for (int group = 0; group < groups; ++group) sums[group].clear();
  NUCLEISEG_UNROLL for (int step = 0; step < Shape::slices / 2; ++step) {
    Left lefts[groups];
    NUCLEISEG_UNROLL for (int group = 0; group < groups; ++group) {
      lefts[group].gather([&](int pixel, int word) {
        return words[2 * row * Shape::row_words + begin_of_run<Shape>(group * kGroup + pixel) +
                     offset_of<Shape>(step * kStepWords + word)];
      });
    }
    NUCLEISEG_UNROLL for (int tile = 0; tile < tiles; ++tile) {
      const uint4* const column = weights + 2 * step * outputs + tile * kTile;
      Right right;
      right.load(column, column + outputs);
      NUCLEISEG_UNROLL for (int group = 0; group < groups; ++group) {
        sums[group].add(lefts[group], right, tile);
      }
    }
  }
  NUCLEISEG_UNROLL for (int group = 0; group < groups; ++group) {
    sums[group].for_each([&](int pixel, int part, const auto& values) {
      constexpr int count = 2 * tiles;
      const int output = static_cast<int>(place.block) * outputs + part * count;
      int32_t whole[count];
      NUCLEISEG_UNROLL for (int i = 0; i < count; ++i) {
        whole[i] = values[i] + load_constant(work.begin + output + i);
      }
      write_stem(work, place, row, group * kGroup + pixel, output, whole);
    });
  }
}

template <class Shape, int tiles>
__global__ void multiply_image(Stem work) {
  constexpr int count = Shape::rows * Shape::row_words;
  constexpr int weight_units = Shape::slices * kTile * tiles;
  __shared__ uint32_t words[2 * count];
  __shared__ uint4 weights[weight_units];
  const StemPlace place = StemPlace::of_block(work, kTile * tiles);
  phase([&] {
    load_image<Shape>(work, place, words);
    const uint4* const from = work.weights + place.block * uint32_t{weight_units};
    for (int i = static_cast<int>(threadIdx.x); i < weight_units; i += kStemThreads) {
      weights[i] = from[i];
    }
  });
  phase([&] { copy_between_words<Shape>(words, words + count); });
  warp_phase([&] {
    const int first = static_cast<int>(threadIdx.x) / kWarp * kWarpRows;
    NUCLEISEG_NO_UNROLL for (int row = first; row < first + kWarpRows; ++row) {
      multiply_row<Shape, tiles>(work, place, row, words, weights);
    }
  });
}

template <int side>
void launch_side(const Stem& work, cudaStream_t stream) {
  const int tiles = stem_tiles(work.columns);
  launch_blocks(
      tiles == 4 ? multiply_image<StemShape<side>, 4> : multiply_image<StemShape<side>, 2>,
      stem_blocks(work, kTile * tiles), kStemThreads, stream, work);
}

}  // namespace

void stem_with_matrix(const Stem& work, int side, cudaStream_t stream) {
  side == 3 ? launch_side<3>(work, stream) : launch_side<6>(work, stream);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
