// Union-find in the label image itself: a pixel's cell holds the pixel that it points to.
//
// The root of a set is its first pixel in raster order, whatever the order of the unions (Wu, Otoo
// and Suzuki, "Optimizing two-pass connected-component labeling algorithms", 2009,
// doi:10.1007/s10044-008-0109-y). Cells hold index + 1, since 0 is the background. A negative cell
// marks a pixel that reaches no core; these form a second forest, of sign -1.
//
// Loads and stores are relaxed atomics: while nuclei are resolved, threads read pointers that their
// owner shortens. Each is some ancestor, so every reader reaches the same root.
#pragma once

#include <cstdint>
#include <utility>

namespace nucleiseg::cpu {

class Forest {
 public:
  explicit Forest(int32_t* cells) : cells_(cells) {}

  int32_t load(int32_t pixel) const { return __atomic_load_n(cells_ + pixel, __ATOMIC_RELAXED); }
  void store(int32_t pixel, int32_t cell) {
    __atomic_store_n(cells_ + pixel, cell, __ATOMIC_RELAXED);
  }

  template <int sign>
  void point(int32_t pixel, int32_t target) {
    store(pixel, sign * (target + 1));
  }

  // Shortens the way it went: each pixel then points to what its target pointed to.
  template <int sign>
  int32_t find(int32_t pixel) {
    int32_t next = sign * load(pixel) - 1;
    while (next != pixel) {
      const int32_t after = sign * load(next) - 1;
      point<sign>(pixel, after);
      pixel = next;
      next = after;
    }
    return pixel;
  }

  template <int sign>
  int32_t unite(int32_t a, int32_t b) {
    a = find<sign>(a);
    b = find<sign>(b);
    if (b < a) std::swap(a, b);
    point<sign>(b, a);
    return a;
  }

 private:
  int32_t* cells_;
};

}  // namespace nucleiseg::cpu
