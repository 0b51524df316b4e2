// Pointers from pixels to the peaks of their basins, kept in the label image, for many threads at
// once.
//
// A cell is the index + 1 of the pixel that a pixel points to, and 0 on the background. A root
// points to itself: it is the peak that stands for a basin, or for basins that have become one.
// While basins join, all at once, a root that gets a pointer gets it as a negative number, so that
// who follows pointers meanwhile still ends where the roots were.
//
// A pointer that is stale, because another thread has just moved it, still leads to the same root.
#pragma once

#include <cstdint>

#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

class Forest {
 public:
  __device__ __forceinline__ explicit Forest(int32_t* cells) : cells_(cells) {}

  // Negative for a pixel of the background.
  __device__ __forceinline__ int32_t target(int32_t pixel) const {
    const int32_t cell = relaxed_load(cells_ + pixel);
    return (cell < 0 ? -cell : cell) - 1;
  }

  __device__ __forceinline__ void point(int32_t pixel, int32_t target) const {
    relaxed_store(cells_ + pixel, target + 1);
  }

  // Makes a root one no longer.
  __device__ __forceinline__ void join(int32_t root, int32_t other) const {
    relaxed_store(cells_ + root, -(other + 1));
  }

  __device__ __forceinline__ int32_t root(int32_t pixel) const {
    int32_t next = target(pixel);
    while (next != pixel) {
      pixel = next;
      next = target(pixel);
    }
    return pixel;
  }

  // As root(), and shortens the way that it went.
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

  // The root before any of those that are joining now did.
  __device__ __forceinline__ int32_t root_before(int32_t pixel) const {
    int32_t cell = relaxed_load(cells_ + pixel);
    while (cell > 0 && cell != pixel + 1) {
      pixel = cell - 1;
      cell = relaxed_load(cells_ + pixel);
    }
    return pixel;
  }

 private:
  int32_t* const cells_;
};

}  // namespace nucleiseg::NUCLEISEG_DEVICE
