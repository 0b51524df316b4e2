// Products of small matrices of bytes with signs, which a warp computes together in a warp_phase.
//
// Matrices come from shared memory in units of 16 bytes: a Left has 16 rows of 32 bytes and a Right
// 8 columns of 32, of each of which the first half is in one place and the second in another, rows
// or columns side by side. tests/cpp/emulation/matrix.h has their twins for a C++ compiler.
#pragma once

#include "cuda/words.h"

#if defined(__CUDACC__)

namespace nucleiseg::cuda {

constexpr int kQuad = 4;  // threads that share a row

static __device__ __forceinline__ uint32_t own_word(const uint4* units) {
  const uint32_t lane = threadIdx.x % kWarp;
  return reinterpret_cast<const uint32_t*>(units + lane / kQuad)[lane % kQuad];
}

// Which thread holds what is in NVIDIA's "Parallel Thread Execution ISA", "Matrix Fragments for
// mma.m16n8k32".
struct Left {
  __device__ __forceinline__ void load(const uint4* first, const uint4* second) {
    words[0] = own_word(first);
    words[1] = own_word(first + 8);
    words[2] = own_word(second);
    words[3] = own_word(second + 8);
  }

  // As above, word by word: word(row, index) is one of a row's 8.
  template <class Word>
  __device__ __forceinline__ void gather(Word&& word) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    NUCLEISEG_UNROLL for (int i = 0; i < 4; ++i) {
      words[i] = word(lane / kQuad + i % 2 * 8, lane % kQuad + i / 2 * kQuad);
    }
  }

  uint32_t words[4];
};

struct Right {
  __device__ __forceinline__ void load(const uint4* first, const uint4* second) {
    words[0] = own_word(first);
    words[1] = own_word(second);
  }

  uint32_t words[2];
};

static __device__ __forceinline__ void add_product(int32_t (&sums)[4], const Left& a,
                                                   const Right& b) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b.words[0]),
        "r"(b.words[1]));
#else
  // Turing has the quarters of it.
  NUCLEISEG_UNROLL for (int i = 0; i < 4; ++i) {
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+r"(sums[i % 2 * 2]), "+r"(sums[i % 2 * 2 + 1])
        : "r"(a.words[i]), "r"(b.words[i / 2]));
  }
#endif
}

// Sums of 16 rows and 8 columns for each tile.
template <int tiles>
class Products {
 public:
  __device__ __forceinline__ void clear() {
    NUCLEISEG_UNROLL for (int tile = 0; tile < tiles; ++tile) {
      NUCLEISEG_UNROLL for (int i = 0; i < 4; ++i) sums_[tile][i] = 0;
    }
  }

  __device__ __forceinline__ void add(const Left& a, const Right& b, int tile) {
    add_product(sums_[tile], a, b);
  }

  // Calls body(row, part, values): of each tile in turn the columns 2 * part and 2 * part + 1.
  template <class Body>
  __device__ __forceinline__ void for_each(Body&& body) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    NUCLEISEG_UNROLL for (int half = 0; half < 2; ++half) {
      int32_t values[2 * tiles];
      NUCLEISEG_UNROLL for (int i = 0; i < 2 * tiles; ++i) {
        values[i] = sums_[i / 2][2 * half + i % 2];
      }
      body(lane / kQuad + 8 * half, lane % kQuad, values);
    }
  }

 private:
  int32_t sums_[tiles][4];
};

}  // namespace nucleiseg::cuda

#else

#include "emulation/matrix.h"

#endif
