// One pixel's step in the labelling of nuclei: where does it climb, and where would a set without a
// core join a nucleus?
//
// A watershed by the drop-of-water principle, upside down (Cousty, Bertrand, Najman and Couprie,
// "Watershed Cuts: Minimum Spanning Forests and the Drop of Water Principle", IEEE TPAMI 31(8),
// 2009, doi:10.1109/TPAMI.2008.173): each nucleus pixel moves to its highest neighbour, the height
// being the centre distance, until it meets a core.
//
// Heights are stored times 8, so that the three low bits can name the neighbour: the greatest of
// the eight sums is then the highest neighbour, the first in raster order among equals. All values
// fit 16 bits, and the background lies below every nucleus pixel.
#pragma once

#include <cstdint>

#include "kernels/mask.h"
#include "kernels/portable.h"

namespace nucleiseg::kernels {

struct LabelRule {
  uint8_t nucleus_threshold;
  uint8_t core_threshold;
  int64_t min_core;  // pixels; cores with fewer are none
  int64_t min_area;  // pixels; nuclei with fewer are dropped
  uint8_t min_peak;  // least highest distance of a nucleus that has no core
};

// What a pixel is. kClimb + k climbs to neighbour k: north-west is 0, north 1, ... south-east 7.
constexpr uint8_t kBackground = 0;
constexpr uint8_t kClimb = 1;
constexpr uint8_t kPlateau = 9;  // not core, nothing higher, a neighbour of equal height
constexpr uint8_t kSummit = 10;  // not core, every neighbour lower
constexpr uint8_t kCore = 11;

constexpr int kNeighbours = 8;

// Where neighbour k lies. Functions, since device code reads no array of constants by index.
NUCLEISEG_HOST_DEVICE int row_step(int k) { return (k < 4 ? k : k + 1) / 3 - 1; }
NUCLEISEG_HOST_DEVICE int column_step(int k) { return (k < 4 ? k : k + 1) % 3 - 1; }

constexpr int16_t kHeightUnit = 8;
constexpr int16_t kBackgroundHeight = -kHeightUnit;

NUCLEISEG_HOST_DEVICE int16_t height(uint8_t probability, uint8_t distance, uint8_t threshold) {
  return is_nucleus(probability, threshold) ? static_cast<int16_t>(distance * kHeightUnit)
                                            : kBackgroundHeight;
}

NUCLEISEG_HOST_DEVICE int16_t higher(int16_t a, int16_t b) { return a > b ? a : b; }

// `above`, `here` and `below` point at the pixel's own column in the three rows of heights.
NUCLEISEG_HOST_DEVICE int16_t steepest(const int16_t* above, const int16_t* here,
                                       const int16_t* below) {
  const auto named = [](int16_t value, int k) { return static_cast<int16_t>(value + 7 - k); };
  const int16_t north = higher(higher(named(above[-1], 0), named(above[0], 1)), named(above[1], 2));
  const int16_t south = higher(higher(named(below[-1], 5), named(below[0], 6)), named(below[1], 7));
  return higher(higher(north, south), higher(named(here[-1], 3), named(here[1], 4)));
}

// `core` is the height of the core threshold; `best` is what steepest() gave.
NUCLEISEG_HOST_DEVICE uint8_t code(int16_t own, int16_t best, int16_t core) {
  const int16_t climb = static_cast<int16_t>(kClimb + 7 - (best & 7));
  const int16_t flat = best >= own ? kPlateau : kSummit;
  const int16_t loose = best >= static_cast<int16_t>(own + kHeightUnit) ? climb : flat;
  const int16_t nucleus = own >= core ? int16_t{kCore} : loose;
  return static_cast<uint8_t>(own < 0 ? int16_t{kBackground} : nucleus);
}

// A set of coreless pixels joins the nucleus of the pixel with the greatest key among those that it
// touches: the highest, the first in raster order among equals. No key is below 2^31.
NUCLEISEG_HOST_DEVICE uint64_t gate_key(uint8_t distance, int32_t pixel) {
  return uint64_t{distance} << 32 | static_cast<uint32_t>(~pixel);
}

// The key of a set's own pixel, which is less than that of any gate: what is left in the end where
// there is no gate is the set's highest distance.
NUCLEISEG_HOST_DEVICE uint64_t peak_key(uint8_t distance) { return distance; }
NUCLEISEG_HOST_DEVICE bool is_gate(uint64_t key) { return key > 255; }

NUCLEISEG_HOST_DEVICE int32_t gate_pixel(uint64_t key) {
  return static_cast<int32_t>(~static_cast<uint32_t>(key));
}

}  // namespace nucleiseg::kernels
