// Union-find in the label image, by many threads at once.
//
// Cells are those of csrc/cpu/forest.h: index + 1 of the pixel that a pixel points to, 0 on the
// background, negative for pixels that reach no core, which form a forest of their own. Sets are
// united as Playne and Hawick do ("A New Algorithm for Parallel Connected-Component Labelling on
// GPUs", IEEE TPDS 29(6), 2018, doi:10.1109/TPDS.2018.2799216): a root is pointed to a lower pixel
// with an atomic minimum, and who finds that it was no root any more goes on with what it pointed
// to. The root of a set is its first pixel, whatever the order of the unions.
//
// A pointer that is stale, because another thread has just moved it, still leads to the same root.
#pragma once

#include <cstdint>

#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

template <int sign>
class SignedForest {
 public:
  __device__ __forceinline__ explicit SignedForest(int32_t* cells) : cells_(cells) {}

  // Negative for a pixel of the other sign or of the background.
  __device__ __forceinline__ int32_t target(int32_t pixel) const {
    return sign * relaxed_load(cells_ + pixel) - 1;
  }

  __device__ __forceinline__ void point(int32_t pixel, int32_t target) const {
    relaxed_store(cells_ + pixel, sign * (target + 1));
  }

  // Shortens the way it went, where all pixels on it belong to one set.
  __device__ __forceinline__ int32_t find(int32_t pixel) const {
    int32_t next = target(pixel);
    while (next != pixel) {
      const int32_t after = target(next);
      if (after != next) point(pixel, after);
      pixel = next;
      next = after;
    }
    return pixel;
  }

  __device__ __forceinline__ void unite(int32_t a, int32_t b) const {
    while (true) {
      a = find(a);
      b = find(b);
      if (a == b) return;
      const int32_t low = a < b ? a : b;
      const int32_t high = a < b ? b : a;
      const int32_t before = lower(high, low);
      if (before == high) return;
      a = before;
      b = low;
    }
  }

 private:
  // Makes `pixel` point to `target` if that is lower than what it points to, which it gives.
  __device__ __forceinline__ int32_t lower(int32_t pixel, int32_t target) const {
    if constexpr (sign > 0) {
      return atomic_min(cells_ + pixel, target + 1) - 1;
    } else {
      return -atomic_max(cells_ + pixel, -(target + 1)) - 1;
    }
  }

  int32_t* const cells_;
};

using Forest = SignedForest<1>;
using CorelessForest = SignedForest<-1>;

}  // namespace nucleiseg::NUCLEISEG_DEVICE
