// Union-find in the label image itself: a pixel's cell holds the pixel that it points to.
//
// The root of a set is its first pixel in raster order, whatever the order of the unions (Wu, Otoo
// and Suzuki, "Optimizing two-pass connected-component labeling algorithms", 2009,
// doi:10.1007/s10044-008-0109-y). Cells hold index + 1, since 0 is the background. A pixel that
// reaches no core holds its cell with a minus sign; these pixels form a forest of their own.
//
// Loads and stores are relaxed atomics: while a strip's pieces are resolved, threads pass through
// other strips' pixels, of which the owner may just be marking one coreless. Either value leads to
// the same answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace nucleiseg::cpu {

template <int sign>
class SignedForest {
 public:
  explicit SignedForest(int32_t* cells) : cells_(cells) {}

  SignedForest<-1> coreless() const { return SignedForest<-1>(cells_); }
  bool is_coreless(int32_t pixel) const { return load(pixel) < 0; }
  bool is_cored(int32_t pixel) const { return load(pixel) > 0; }

  // Negative for a pixel of the other sign.
  int32_t target(int32_t pixel) const { return sign * load(pixel) - 1; }

  void point(int32_t pixel, int32_t target) const {
    __atomic_store_n(cells_ + pixel, sign * (target + 1), __ATOMIC_RELAXED);
  }

  // Shortens the way it went: each pixel then points to what its target pointed to.
  int32_t find(int32_t pixel) const {
    int32_t next = target(pixel);
    while (next != pixel) {
      const int32_t after = target(next);
      point(pixel, after);
      pixel = next;
      next = after;
    }
    return pixel;
  }

  int32_t unite(int32_t a, int32_t b) const {
    a = find(a);
    b = find(b);
    if (b < a) std::swap(a, b);
    point(b, a);
    return a;
  }

 private:
  int32_t load(int32_t pixel) const { return __atomic_load_n(cells_ + pixel, __ATOMIC_RELAXED); }

  int32_t* cells_;
};

using Forest = SignedForest<1>;

// Gives a set its number, `next` where it has none yet. From then on the root holds the number,
// under the sign that coreless pixels have elsewhere.
inline int32_t number_set(int32_t root, size_t next, Forest forest) {
  if (!forest.is_coreless(root)) forest.coreless().point(root, static_cast<int32_t>(next));
  return forest.coreless().target(root);
}

}  // namespace nucleiseg::cpu
