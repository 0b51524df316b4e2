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
// is the least key, of distance and id. A step away adds `step`; `none`, a step beyond the ring, is
// the greatest.
template <class Key>
struct RingKeys {
  Key step;
  Key none;
};

// Keys for ids below 2^id_bits and a ring of `reach`. Nothing may be added to keys but `reach`
// steps, so twice as many and two have to fit.
template <class Key>
NUCLEISEG_HOST_DEVICE RingKeys<Key> ring_keys(int id_bits, int64_t reach) {
  return {static_cast<Key>(Key{1} << id_bits),
          static_cast<Key>((static_cast<Key>(reach) + 1) << id_bits)};
}

NUCLEISEG_HOST_DEVICE bool ring_fits(int id_bits, int64_t reach, int key_bits) {
  return (static_cast<uint64_t>(reach) * 2 + 2) <= (uint64_t{1} << (key_bits - id_bits));
}

template <class Key>
NUCLEISEG_HOST_DEVICE Key ring_key(int32_t label, RingKeys<Key> keys) {
  return label > 0 ? static_cast<Key>(label) : keys.none;
}

// 0 on a nucleus, and farther away than the ring reaches.
template <class Key>
NUCLEISEG_HOST_DEVICE int32_t ring_owner(int32_t label, Key key, RingKeys<Key> keys) {
  const bool is_ring = label == 0 && key < keys.none;
  return is_ring ? static_cast<int32_t>(key & (keys.step - 1)) : 0;
}

}  // namespace nucleiseg::kernels
