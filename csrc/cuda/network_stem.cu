// The first layer: the image's convolution at stride 2.
//
// A thread computes two neighbouring pixels of 16 columns. They see the bytes of a row's three or
// six pixels, of three channels each, as one run of words; the second's begins 6 bytes after the
// first's. The image's bytes are without signs: 128 is taken from each, also where there is no
// image, and its products are in what the sums begin with.
#include "cuda/network_level.h"
#include "cuda/network_work.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

constexpr int kRows = 8;  // of a block's pixels
constexpr int kPairs = 16;
constexpr int kStemThreads = kRows * kPairs;
constexpr int kOutputs = 16;
constexpr int kPixelBytes = 6;  // that two neighbours' runs begin apart
constexpr int kPairWords = 3;
constexpr uint32_t kSigns = 0x80808080u;

template <int side_>
struct StemShape {
  static constexpr int side = side_;
  static constexpr int before = (side - 2) / 2;  // pixels that the image is padded by
  static constexpr int words = (3 * side + 3) / 4;
  // Bytes from a word's begin to the first pixel's run.
  static constexpr int lead = 3 * before % 4 == 0 ? 0 : 2;
  static constexpr int rows = 2 * (kRows - 1) + side;
  static constexpr int read_words = words + 2;  // by a pair
  static constexpr int row_words = kPairWords * (kPairs - 1) + read_words;
  static constexpr int weight_words = side * words * kOutputs;
};

struct StemPlace {
  int32_t tile;
  int32_t row;
  int32_t column;
  int32_t block;

  static __device__ __forceinline__ StemPlace of_block(const Stem& work) {
    auto rest = static_cast<int32_t>(blockIdx.x);
    StemPlace place;
    place.block = rest % (work.columns / kOutputs);
    rest /= work.columns / kOutputs;
    const int32_t across = (work.width + 2 * kPairs - 1) / (2 * kPairs);
    place.column = rest % across * 2 * kPairs;
    rest /= across;
    const int32_t down = (work.height + kRows - 1) / kRows;
    place.row = rest % down * kRows;
    place.tile = rest / down;
    return place;
  }
};

template <class Shape>
__device__ __forceinline__ void load_image(const Stem& work, const StemPlace& place,
                                           uint32_t* words) {
  const int32_t height = 2 * work.height;
  const int32_t row_words = 2 * work.width * 3 / 4;
  const auto* const image = reinterpret_cast<const uint32_t*>(work.image);
  const int32_t first = (kPixelBytes * place.column - 3 * Shape::before - Shape::lead) / 4;
  for (int i = static_cast<int>(threadIdx.x); i < Shape::rows * Shape::row_words;
       i += kStemThreads) {
    const int32_t row = 2 * place.row + i / Shape::row_words - Shape::before;
    const int32_t word = first + i % Shape::row_words;
    const bool inside = 0 <= row && row < height && 0 <= word && word < row_words;
    const int64_t at = (int64_t{place.tile} * height + row) * row_words + word;
    words[i] = (inside ? load_constant(image + at) : 0) ^ kSigns;
  }
}

// The word that begins so many bytes after the first, of which there are an even number.
template <int byte>
__device__ __forceinline__ uint32_t word_from(const uint32_t* words) {
  if constexpr (byte % 4 == 0) {
    return words[byte / 4];
  } else {
    return words[byte / 4] >> 16 | words[byte / 4 + 1] << 16;
  }
}

template <class Shape>
struct StemSums {
  int32_t sums[2][kOutputs];

  template <int word>
  __device__ __forceinline__ void add_word(const uint32_t* seen, const uint4* weights) {
    const uint32_t one = word_from<Shape::lead + 4 * word>(seen);
    const uint32_t other = word_from<Shape::lead + kPixelBytes + 4 * word>(seen);
    NUCLEISEG_UNROLL for (int quad = 0; quad < kOutputs / 4; ++quad) {
      const uint4 four = weights[word * kOutputs / 4 + quad];
      const uint32_t each[4] = {four.x, four.y, four.z, four.w};
      NUCLEISEG_UNROLL for (int i = 0; i < 4; ++i) {
        sums[0][4 * quad + i] = dot4(one, each[i], sums[0][4 * quad + i]);
        sums[1][4 * quad + i] = dot4(other, each[i], sums[1][4 * quad + i]);
      }
    }
    if constexpr (word + 1 < Shape::words) add_word<word + 1>(seen, weights);
  }

  __device__ __forceinline__ void add(const uint32_t* words, const uint4* weights) {
    const int pair = static_cast<int>(threadIdx.x) % kPairs;
    const int first_row = static_cast<int>(threadIdx.x) / kPairs * 2;
    for (int row = 0; row < Shape::side; ++row) {
      const uint32_t* const from = words + (first_row + row) * Shape::row_words + pair * kPairWords;
      uint32_t seen[Shape::read_words];
      NUCLEISEG_UNROLL for (int i = 0; i < Shape::read_words; ++i) seen[i] = from[i];
      add_word<0>(seen, weights + row * Shape::words * kOutputs / 4);
    }
  }

  __device__ __forceinline__ void write(const Stem& work, const StemPlace& place) const {
    const int32_t row = place.row + static_cast<int>(threadIdx.x) / kPairs;
    const int32_t column = place.column + static_cast<int>(threadIdx.x) % kPairs * 2;
    if (row >= work.height) return;
    NUCLEISEG_UNROLL for (int i = 0; i < 2; ++i) {
      if (column + i >= work.width) continue;
      const int64_t at = (int64_t{place.tile} * work.height + row) * work.width + column + i;
      write_levels(sums[i], work.levels, place.block * kOutputs,
                   work.out + at * work.columns + place.block * kOutputs);
    }
  }
};

template <class Shape>
__global__ void convolve_image(Stem work) {
  __shared__ uint32_t words[Shape::rows * Shape::row_words];
  __shared__ uint4 weights[Shape::weight_words / 4];
  const StemPlace place = StemPlace::of_block(work);
  phase([&] {
    load_image<Shape>(work, place, words);
    const auto* const from = reinterpret_cast<const uint4*>(work.weights) +
                             int64_t{place.block} * Shape::weight_words / 4;
    for (int i = static_cast<int>(threadIdx.x); i < Shape::weight_words / 4; i += kStemThreads) {
      weights[i] = from[i];
    }
  });
  phase([&] {
    StemSums<Shape> sums;
    NUCLEISEG_UNROLL for (int i = 0; i < kOutputs; ++i) {
      sums.sums[0][i] = sums.sums[1][i] = load_constant(work.begin + place.block * kOutputs + i);
    }
    sums.add(words, weights);
    sums.write(work, place);
  });
}

}  // namespace

void stem(const Stem& work, int side, cudaStream_t stream) {
  const int64_t across = (work.width + 2 * kPairs - 1) / (2 * kPairs);
  const int64_t down = (work.height + kRows - 1) / kRows;
  const int64_t blocks = work.count * down * across * (work.columns / kOutputs);
  launch_blocks(side == 3 ? convolve_image<StemShape<3>> : convolve_image<StemShape<6>>, blocks,
                kStemThreads, stream, work);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
