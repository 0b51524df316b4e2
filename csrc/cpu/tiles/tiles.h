// Images in tiles and at other sizes: what lies around the network.
//
// Tiles are copied out of an image, mirrored at its border, and the maps of what each tile keeps
// are copied back (here; csrc/kernels/tiles.h defines where a pixel lies). An image is resized by
// area means or Keys's cubic convolution (resize.h), and maps are enlarged bilinearly (enlarge.h),
// each pixel by itself, so that parts put together are the whole. Linear in the pixels that are
// written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/tiles.h"

namespace nucleiseg::cpu {

using kernels::kCellBytes;
using kernels::kCellSide;
using kernels::kImageChannels;
using kernels::kMapChannels;
using kernels::Plane;
using kernels::Point;
using kernels::Rectangle;

// Copies the tiles whose top-left pixels are `origins` to `out` (N, height, width, 3), reflecting
// at the image's border.
void gather(Plane<const uint8_t> image, const std::vector<Point>& origins, int64_t height,
            int64_t width, uint8_t* out, int threads);

// A tile's maps as the network gives them: cells of 2 x 2 pixels, rows of cells `row_stride` apart.
struct Cells {
  const uint8_t* data;
  std::ptrdiff_t row_stride;
};

// Spreads each tile's cells over pixels and copies its core to its place in `out`; where cores
// overlap, the later tile's stays.
void assemble(const std::vector<Cells>& tiles, const std::vector<Point>& origins,
              const std::vector<Rectangle>& cores, Plane<uint8_t> out, int threads);

}  // namespace nucleiseg::cpu
