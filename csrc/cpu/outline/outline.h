// The nuclei's exact outlines along the edges of their pixels: the loops for
// csrc/kernels/outline.h.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/measure/labels.h"

namespace nucleiseg::cpu {

// A corner of pixels: pixel (r, c) covers [r, r + 1] x [c, c + 1].
struct Corner {
  int32_t row;
  int32_t column;
};

inline bool operator==(const Corner& a, const Corner& b) {
  return a.row == b.row && a.column == b.column;
}

inline bool operator<(const Corner& a, const Corner& b) {
  return a.row != b.row ? a.row < b.row : a.column < b.column;
}

// Ring i is points[ends[i - 1]] to points[ends[i]], exclusive, the first beginning at 0.
struct Rings {
  std::vector<Corner> points;
  std::vector<int64_t> ends;
  std::vector<int32_t> owners;
  std::vector<uint8_t> holes;
};

// `count` is the greatest label.
Rings outline(const LabelView& labels, int32_t count, int threads);

}  // namespace nucleiseg::cpu
