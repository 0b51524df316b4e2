// One pixel's step in the labelling of nuclei: how high is it, where does it climb, and which way
// leads from its basin to another's?
//
// A watershed by the drop-of-water principle, upside down (Cousty, Bertrand, Najman and Couprie,
// "Watershed Cuts: Minimum Spanning Forests and the Drop of Water Principle", IEEE TPAMI 31(8),
// 2009, doi:10.1109/TPAMI.2008.173): each nucleus pixel moves to its highest neighbour, the height
// being the smoothed centre distance, and so to the peak of a basin. Basins whose peaks do not
// stand out become one with a neighbour (the dynamics of Grimaud, "New measure of contrast: the
// dynamics", SPIE 1769, 1992, doi:10.1117/12.60650). What is left may merge once more: each basin
// asks at its highest pass whether the two there are one nucleus (csrc/kernels/merge.h). Of these
// nuclei those are kept that are large, high and probable enough.
//
// Distances are smoothed by two binomial filters of five pixels in each direction, which is nearly
// a Gaussian with a standard deviation of 1.4, on an image that goes on beyond its edges as its
// edges are. Heights are in sixteenths of a distance, times 8, so that the three low bits can name
// a neighbour: the greatest of the eight sums is then the highest neighbour, the first in raster
// order among equals. All values fit 16 bits, and the background lies below every nucleus pixel.
#pragma once

#include <cstdint>

#include "kernels/merge.h"
#include "kernels/portable.h"

namespace nucleiseg::kernels {

// The mask: a pixel is nucleus where the network's nucleus probability reaches the threshold.
NUCLEISEG_HOST_DEVICE bool is_nucleus(uint8_t probability, uint8_t threshold) {
  return probability >= threshold;
}

struct LabelRule {
  uint8_t nucleus_threshold;
  uint8_t marker_threshold;  // a basin with a lower peak joins the neighbour with the highest pass
  uint8_t prominence;        // so does one whose peak is less than this above that pass
  int64_t min_area;          // pixels; nuclei with fewer are dropped
  uint8_t min_peak;          // so are those with a lower peak
  uint8_t min_probability = 0;  // and those with a lower mean probability
  MergeRule merge = {};         // which of the basins that are left are one nucleus
};

// The same rule with the most prominence that a pass of interest may have.
NUCLEISEG_HOST_DEVICE LabelRule with_prominence(LabelRule rule, int32_t prominence) {
  if (prominence > rule.prominence) rule.prominence = static_cast<uint8_t>(prominence);
  return rule;
}

constexpr int kSmoothed = 4;  // pixels to each side that a smoothed distance sees

// The filter 1, 4, 6, 4, 1: 16 times its inputs, which may be up to 4080.
NUCLEISEG_HOST_DEVICE uint16_t five(uint16_t a, uint16_t b, uint16_t c, uint16_t d, uint16_t e) {
  return static_cast<uint16_t>(a + e + 4 * (b + d) + 6 * c);
}

// What five() gave, back in the units of its inputs, rounded half up.
NUCLEISEG_HOST_DEVICE uint16_t sixteenth(uint16_t sum) {
  return static_cast<uint16_t>((sum + 8) >> 4);
}

constexpr int16_t kHeightUnit = 8;
constexpr int16_t kBackgroundHeight = -kHeightUnit;
constexpr int kUnitsPerDistance = 16;

// `smoothed` is in sixteenths.
NUCLEISEG_HOST_DEVICE int16_t height(uint8_t probability, uint16_t smoothed, uint8_t threshold) {
  return is_nucleus(probability, threshold) ? static_cast<int16_t>(smoothed * kHeightUnit)
                                            : kBackgroundHeight;
}

// What a pixel is. kClimb + k climbs to neighbour k: north-west is 0, north 1, ... south-east 7.
constexpr uint8_t kBackground = 0;
constexpr uint8_t kClimb = 1;
constexpr uint8_t kPeak = 9;

constexpr int kNeighbours = 8;
constexpr int kWest = 3;
constexpr int kEast = 4;
constexpr int kSouth = 6;

// Where neighbour k lies. Functions, since device code reads no array of constants by index.
NUCLEISEG_HOST_DEVICE int row_step(int k) { return (k < 4 ? k : k + 1) / 3 - 1; }
NUCLEISEG_HOST_DEVICE int column_step(int k) { return (k < 4 ? k : k + 1) % 3 - 1; }

NUCLEISEG_HOST_DEVICE int16_t higher(int16_t a, int16_t b) { return a > b ? a : b; }

// `above`, `here` and `below` point at the pixel's own column in the three rows of heights.
NUCLEISEG_HOST_DEVICE int16_t steepest(const int16_t* above, const int16_t* here,
                                       const int16_t* below) {
  const auto named = [](int16_t value, int k) { return static_cast<int16_t>(value + 7 - k); };
  const int16_t north = higher(higher(named(above[-1], 0), named(above[0], 1)), named(above[1], 2));
  const int16_t south = higher(higher(named(below[-1], 5), named(below[0], 6)), named(below[1], 7));
  return higher(higher(north, south), higher(named(here[-1], 3), named(here[1], 4)));
}

// `best` is what steepest() gave. Of pixels of one height the first in raster order counts as the
// highest: one climbs to neighbours 0 to 3 of its own height, whose names are 4 or more.
NUCLEISEG_HOST_DEVICE uint8_t code(int16_t own, int16_t best) {
  const auto climb = static_cast<int16_t>(kClimb + 7 - (best & 7));
  const int16_t nucleus = best >= static_cast<int16_t>(own + 4) ? climb : int16_t{kPeak};
  return static_cast<uint8_t>(own < 0 ? int16_t{kBackground} : nucleus);
}

// A pass leads from a pixel to its neighbour k >= 4 in another basin, at the height of the lower of
// the two. The greatest key is the highest, the first in raster order of its first pixel among
// equals, and then the least k; none is 0.
NUCLEISEG_HOST_DEVICE uint64_t pass_key(int16_t a, int16_t b, int32_t pixel, int k) {
  const auto units = static_cast<uint64_t>((a < b ? a : b) / kHeightUnit);
  const uint64_t place = static_cast<uint64_t>(pixel) * 4 + static_cast<uint64_t>(k - 4);
  return units << 36 | ((uint64_t{1} << 36) - 1 - place);
}

// In sixteenths of a distance.
NUCLEISEG_HOST_DEVICE int32_t pass_height(uint64_t key) { return static_cast<int32_t>(key >> 36); }

NUCLEISEG_HOST_DEVICE int32_t pass_pixel(uint64_t key) {
  return static_cast<int32_t>((((uint64_t{1} << 36) - 1) & ~key) / 4);
}
NUCLEISEG_HOST_DEVICE int pass_neighbour(uint64_t key) { return static_cast<int>(~key & 3) + 4; }

// Does a basin join the one beyond its highest pass? `peak` and `pass` are in sixteenths.
//
// Passes taken one by one, from the highest down, joining two basins wherever this is true of one
// of them, give the same as rounds in which all basins of which it is true join at once, each
// beyond its highest pass: what is joined on the way is never higher above the next pass than what
// was there before.
NUCLEISEG_HOST_DEVICE bool joins(int32_t peak, int32_t pass, const LabelRule& rule) {
  return peak < rule.marker_threshold * kUnitsPerDistance ||
         peak - pass < rule.prominence * kUnitsPerDistance;
}

// `probability` is the sum over the nucleus's pixels; any number will do if the rule asks for none.
NUCLEISEG_HOST_DEVICE bool is_kept(int64_t area, int32_t peak, uint64_t probability,
                                   const LabelRule& rule) {
  return area >= rule.min_area && peak >= rule.min_peak * kUnitsPerDistance &&
         probability >= static_cast<uint64_t>(area) * rule.min_probability;
}

}  // namespace nucleiseg::kernels
