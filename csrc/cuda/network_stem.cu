// The first layer: the image's convolution at stride 2, by products of matrices. Every warp
// computes two rows of 32 pixels.
//
// A pixel sees the bytes of three or six of the image's pixels, of three channels each, in each of
// as many rows: a run of words. The next pixel's run begins 6 bytes further on, and one that begins
// between two words is read from a copy of the image that is two bytes further on. The image's
// bytes are without signs: 128 is taken from each, also where there is no image, and its products
// are in what the sums begin with.
#include "cuda/matrix.h"
#include "cuda/network_level.h"
#include "cuda/network_work.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

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

int64_t stem_blocks(const Stem& work, int outputs) {
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

void stem(const Stem& work, int side, cudaStream_t stream) {
  side == 3 ? launch_side<3>(work, stream) : launch_side<6>(work, stream);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
