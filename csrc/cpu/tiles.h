// Tiles out of an image and maps back into it; the border's mathematics is csrc/kernels/tiles.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nucleiseg::cpu {

constexpr int64_t kImageChannels = 3;
constexpr int64_t kMapChannels = 2;

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

// Copies the tiles whose top-left pixels are `origins` to `out` (N, height, width, 3), reflecting
// at the image's border.
void gather(Plane<const uint8_t> image, const std::vector<Point>& origins, int64_t height,
            int64_t width, uint8_t* out, int threads);

// Copies each tile's core to its place in `out`; where cores overlap, the later tile's stays.
// `maps` points at the tiles' maps, each with rows `row_stride` apart.
void assemble(const std::vector<Plane<const uint8_t>>& maps, const std::vector<Point>& origins,
              const std::vector<Rectangle>& cores, Plane<uint8_t> out, int threads);

}  // namespace nucleiseg::cpu
