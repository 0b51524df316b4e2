// What one pixel adds to its nucleus's perimeter, by Crofton's formula with four directions: the
// perimeter is pi / 4 times the mean, over lines in all directions, of how often they cross the
// edge, here counted along rows, columns and both diagonals (Rivollier, "Analyse d'image
// geometrique et morphometrique", thesis, Saint-Etienne, 2010, as scikit-image has it).
//
// Every line crosses the edge as often inwards as outwards, so one sense a direction is enough, and
// the counts are whole numbers.
#pragma once

#include <cstdint>

#include "kernels/portable.h"

namespace nucleiseg::kernels {

constexpr double kPi = 3.14159265358979323846;
constexpr double kStraightCrossing = kPi / 4.0;
constexpr double kDiagonalCrossing = kPi / 4.0 / 1.41421356237309504880;

struct Crossings {
  int64_t straight;  // pixels whose neighbour above, or to the right, is another's
  int64_t diagonal;  // pixels whose neighbour north-west, or south-west, is another's
};

NUCLEISEG_HOST_DEVICE double perimeter(const Crossings& crossings) {
  return static_cast<double>(crossings.straight) * kStraightCrossing +
         static_cast<double>(crossings.diagonal) * kDiagonalCrossing;
}

// The ring around nuclei by chessboard distance: the nearest nucleus, the lowest id among equals,
// is the least key. A step away adds kRingStep.
constexpr uint64_t kRingStep = uint64_t{1} << 32;
constexpr uint64_t kNoRing = uint64_t{1} << 63;

NUCLEISEG_HOST_DEVICE uint64_t ring_key(int32_t label) {
  return label > 0 ? static_cast<uint32_t>(label) : kNoRing;
}

// The pixel's own id on a nucleus, 0 farther away than `reach`.
NUCLEISEG_HOST_DEVICE int32_t ring_owner(uint64_t key, int64_t reach) {
  const bool is_near = key < (static_cast<uint64_t>(reach) + 1) * kRingStep;
  return is_near ? static_cast<int32_t>(key & (kRingStep - 1)) : 0;
}

}  // namespace nucleiseg::kernels
