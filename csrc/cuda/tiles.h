// Tiles out of an image and maps back into it; the mathematics is csrc/kernels/tiles.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda/check.h"
#include "kernels/tiles.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

using kernels::Plane;
using kernels::Point;
using kernels::Rectangle;

// Copies the tiles whose top-left pixels are `origins` to `out`, (N, height, width, 3), reflecting
// at the image's border. Does not wait; the origins travel with the launch.
void gather(Plane<const uint8_t> image, const std::vector<Point>& origins, int64_t height,
            int64_t width, uint8_t* out, cudaStream_t stream);

// (N, height, width, 8) bytes without gaps: see kernels::byte_in_cells.
struct Cells {
  const uint8_t* data;
  int64_t height;
  int64_t width;
};

// Spreads each tile's cells over pixels and copies its core to its place in `out`; no two cores
// overlap. Does not wait; origins and cores travel with the launch.
void assemble(const Cells& cells, const std::vector<Point>& origins,
              const std::vector<Rectangle>& cores, Plane<uint8_t> out, cudaStream_t stream);

}  // namespace nucleiseg::NUCLEISEG_DEVICE
