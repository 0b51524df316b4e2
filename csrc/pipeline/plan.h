// The tiles of an image: the fewest that cover it.
//
// An image that fits is one tile, padded only to the next multiple of the stride. Otherwise
// neighbours overlap by at least twice the halo, and the size is the smallest that covers the image
// with that number of tiles. Tiles begin at multiples of the stride, since the network's answer
// moves with the image only by whole strides: so tiles of any size give the same maps.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tiles.h"

namespace nucleiseg::pipeline {

using kernels::Point;
using kernels::Rectangle;

// One row of tiles. Points and rectangles count from the first row that is seen or kept.
struct Band {
  int64_t seen_begin;  // pixel rows of the image that the tiles see
  int64_t seen_end;
  int64_t kept_begin;  // pixel rows that they keep
  int64_t kept_end;
  int64_t tile_height;
  int64_t tile_width;
  std::vector<Point> sources;    // each tile's top-left pixel, in the rows that are seen
  std::vector<Point> targets;    // the same pixel, in the rows that are kept
  std::vector<Rectangle> cores;  // what each tile keeps, in the rows that are kept
};

// Rows of tiles from top to bottom. `tile` is the largest width of a tile and `tall` its largest
// height; both are multiples of the stride above twice the halo.
std::vector<Band> plan(int64_t height, int64_t width, int64_t tile, int64_t tall, int64_t halo,
                       int64_t stride);

}  // namespace nucleiseg::pipeline
