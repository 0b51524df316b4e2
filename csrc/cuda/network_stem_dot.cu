// The first layer by sums of four products at once: a thread computes two neighbouring pixels of 16
// columns.
#include "cuda/network_stem.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

constexpr int kPairs = kStemColumns / 2;
constexpr int kPairWords = 2 * kRunStep / 4;
constexpr int kOutputs = kUnit;
static_assert(kStemRows * kPairs == kStemThreads);

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
    const uint32_t other = word_from<Shape::lead + kRunStep + 4 * word>(seen);
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
      uint32_t seen[Shape::words + 2];
      NUCLEISEG_UNROLL for (int i = 0; i < Shape::words + 2; ++i) seen[i] = from[i];
      add_word<0>(seen, weights + row * Shape::words * kOutputs / 4);
    }
  }

  __device__ __forceinline__ void write(const Stem& work, const StemPlace& place) const {
    const int row = static_cast<int>(threadIdx.x) / kPairs;
    const int column = static_cast<int>(threadIdx.x) % kPairs * 2;
    const int output = static_cast<int>(place.block) * kOutputs;
    write_stem(work, place, row, column, output, sums[0]);
    write_stem(work, place, row, column + 1, output, sums[1]);
  }
};

template <class Shape>
__global__ void convolve_image(Stem work) {
  __shared__ uint32_t words[Shape::rows * Shape::row_words];
  constexpr int weight_units = Shape::side * Shape::words * kOutputs / 4;
  __shared__ uint4 weights[weight_units];
  const StemPlace place = StemPlace::of_block(work, kOutputs);
  phase([&] {
    load_image<Shape>(work, place, words);
    const uint4* const from = work.weights + place.block * uint32_t{weight_units};
    for (int i = static_cast<int>(threadIdx.x); i < weight_units; i += kStemThreads) {
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

void stem_with_dot(const Stem& work, int side, cudaStream_t stream) {
  launch_blocks(side == 3 ? convolve_image<StemShape<3>> : convolve_image<StemShape<6>>,
                stem_blocks(work, kOutputs), kStemThreads, stream, work);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
