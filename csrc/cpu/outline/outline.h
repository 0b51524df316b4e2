// The outlines of nuclei as polygons, exactly along the edges of their pixels, with holes.
//
// Each boundary is traced once, from corner to corner of the pixels, with the label on the right
// hand; where it touches itself it is cut into simple rings. A hole is assigned to the outside that
// encloses it by looking upwards from its top. The result differs from Suzuki and Abe's border
// following (1985, doi:10.1016/0734-189X(85)90016-7), which joins the centres of pixels, in that
// the polygons have the pixels' area. Linear in the pixels and in the length of the outlines, but
// for a logarithm. Where a tolerance is given, corners are dropped by Douglas and Peucker's method
// (simplify.h).
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

// `count` is the greatest label; `tolerance` is in pixels, 0 for exact outlines.
Rings outline(const LabelView& labels, int32_t count, double tolerance, int threads);

}  // namespace nucleiseg::cpu
