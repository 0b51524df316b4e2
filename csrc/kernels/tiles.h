// Where the pixels of a tile come from, and where the network's answers go.
//
// Reflection at the image's border does not repeat the border pixel: 2 1 | 0 1 2 | 1 0, NumPy's
// mode="reflect". The pattern has period 2 (size - 1); a single pixel repeats itself.
//
// The network answers in cells of 2 x 2 pixels (sub-pixel convolution, Shi et al. 2016,
// doi:10.1109/CVPR.2016.207). A cell is 8 bytes: both maps of its four pixels in raster order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/portable.h"

namespace nucleiseg::kernels {

constexpr int64_t kImageChannels = 3;
constexpr int64_t kMapChannels = 2;
constexpr int64_t kCellSide = 2;
constexpr int64_t kCellBytes = kCellSide * kCellSide * kMapChannels;

struct Point {
  int64_t row;
  int64_t column;
};

// Half open: row_begin <= row < row_end.
struct Rectangle {
  int64_t row_begin;
  int64_t row_end;
  int64_t column_begin;
  int64_t column_end;
};

// Bytes with pixels side by side; only the rows may lie apart.
template <class Byte>
struct Plane {
  Byte* data;
  int64_t height;
  int64_t width;
  std::ptrdiff_t row_stride;
};

// Where a pixel's maps begin in its row of cells; `row` counts from the tile's first pixel row.
NUCLEISEG_HOST_DEVICE int64_t byte_in_cells(int64_t row, int64_t column) {
  const int64_t within = row % kCellSide * kCellSide + column % kCellSide;
  return column / kCellSide * kCellBytes + within * kMapChannels;
}

NUCLEISEG_HOST_DEVICE int64_t reflect_period(int64_t size) { return size > 1 ? 2 * (size - 1) : 1; }

// The remainder that is never negative: where in the first period an index falls.
NUCLEISEG_HOST_DEVICE int64_t phase(int64_t index, int64_t period) {
  const int64_t remainder = index % period;
  return remainder < 0 ? remainder + period : remainder;
}

NUCLEISEG_HOST_DEVICE int64_t reflect(int64_t index, int64_t size) {
  if (index >= 0 && index < size) return index;  // most are inside, and division is slow
  const int64_t period = reflect_period(size);
  const int64_t forward = phase(index, period);
  return forward < size ? forward : period - forward;
}

}  // namespace nucleiseg::kernels
