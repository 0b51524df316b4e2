// One step along the edge of a label: pixels are unit squares, and the way goes from corner to
// corner of them with the label's pixel on its right hand, rows counting downwards. So the outside
// of a nucleus is walked clockwise on the screen, and its holes the other way.
#pragma once

#include <cstdint>

#include "kernels/portable.h"

namespace nucleiseg::kernels {

// East, south, west, north: adding 1 turns right.
constexpr int kDirections = 4;
constexpr int kEast = 0;

NUCLEISEG_HOST_DEVICE int row_heading(int direction) { return (2 - direction) % 2; }
NUCLEISEG_HOST_DEVICE int column_heading(int direction) { return (1 - direction) % 2; }

// The pixels around a corner that lie ahead; those behind are the label's (right) and another's.
struct Ahead {
  bool left;   // is it the label's?
  bool right;  // is it the label's?
};

// How far the direction turns: pixels that touch only at a corner are not connected, so the way
// keeps to the pixel that it follows.
NUCLEISEG_HOST_DEVICE int turn(const Ahead& ahead) {
  if (!ahead.right) return 1;
  return ahead.left ? kDirections - 1 : 0;
}

// Does the way come through this corner twice, once around each of two diagonal pixels?
NUCLEISEG_HOST_DEVICE bool is_diagonal(const Ahead& ahead) { return ahead.left && !ahead.right; }

}  // namespace nucleiseg::kernels
