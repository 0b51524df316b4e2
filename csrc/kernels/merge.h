// Are two basins that meet one nucleus? A small network that was trained on annotated nuclei says
// so: agglomeration of regions by a learned decision (Nunez-Iglesias, Kennedy, Parag, Shi and
// Chklovskii, "Machine Learning of Hierarchical Clustering to Segment 2D and 3D Images", PLOS ONE
// 8(8), 2013, doi:10.1371/journal.pone.0071715). `training.merging` trains it.
//
// It sees twelve numbers: how far the lower peak stands out above the saddle, both peaks, and of
// the basin with the lower peak, the one with the higher and the two together the diameter, how
// well they fill the ellipse with their moments, and how elongated that is. The numbers are whole,
// and so are the weights. What is computed with floats is a product, a quotient or a root of one or
// two numbers, each rounded as IEEE 754 says, so all devices decide alike.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/portable.h"

namespace nucleiseg::kernels {

constexpr int kMergeInputs = 12;
constexpr int kMergeUnits = 16;
constexpr int64_t kMergeInputOne = 1 << 12;  // the input that the units' offsets are weights of
constexpr int64_t kMergeUnitOne = 1 << 20;   // the same of the output's
constexpr int32_t kMostMergeWeight = 1 << 20;

struct MergeRule {
  int32_t prominence;  // basins of this prominence or more remain; 0 if no basins are merged
  double pixel;        // area of one pixel in the network's pixels
  int32_t units[kMergeUnits][kMergeInputs + 1];
  int32_t output[kMergeUnits + 1];
};

// Sums over the pixels of a basin. As everything here that is unsigned, they are modulo 2**64.
struct Moments {
  uint64_t area = 0;
  uint64_t row = 0;
  uint64_t column = 0;
  uint64_t row_row = 0;
  uint64_t row_column = 0;
  uint64_t column_column = 0;
};

NUCLEISEG_HOST_DEVICE Moments sum_of(const Moments& a, const Moments& b) {
  return {a.area + b.area,
          a.row + b.row,
          a.column + b.column,
          a.row_row + b.row_row,
          a.row_column + b.row_column,
          a.column_column + b.column_column};
}

// Of `length` pixels of a row, side by side from `column` on.
NUCLEISEG_HOST_DEVICE Moments moments_of(uint64_t row, uint64_t column, uint64_t length) {
  const uint64_t pairs = length * (length - 1) / 2;
  const uint64_t columns = length * column + pairs;
  const uint64_t squares =
      length * column * column + 2 * column * pairs + pairs * (2 * length - 1) / 3;
  return {length, length * row, columns, length * row * row, row * columns, squares};
}

// Of a basin or of two. Diameters are of squares of the same area, in sixteenths of the network's
// pixels; `fill` is the area over that of the ellipse, in 256ths; `elongation` the sum of the
// squared axes of the ellipse over their product, in 128ths.
struct Shape {
  int32_t diameter;
  int32_t fill;
  int32_t elongation;
};

NUCLEISEG_HOST_DEVICE int32_t whole_up_to(double value, int32_t most) {
  return value < most ? static_cast<int32_t>(value) : most;
}

NUCLEISEG_HOST_DEVICE uint64_t magnitude(uint64_t value) { return value >> 63 ? 0 - value : value; }

NUCLEISEG_HOST_DEVICE Shape shape_of(const Moments& sums, double pixel) {
  const uint64_t square = sums.area * sums.area;
  // Twelve times the squared area times the covariances of pixels, which are squares and no points.
  uint64_t down = 12 * (sums.area * sums.row_row - sums.row * sums.row) + square;
  uint64_t across = 12 * (sums.area * sums.column_column - sums.column * sums.column) + square;
  uint64_t both = magnitude(12 * (sums.area * sums.row_column - sums.row * sums.column));
  double unit = 1;
  while ((down | across | both) >> 30 != 0) {
    down >>= 1;
    across >>= 1;
    both >>= 1;
    unit *= 2;
  }
  const auto determinant = static_cast<int64_t>(down * across - both * both);
  const double root = std::sqrt(static_cast<double>(determinant < 1 ? 1 : determinant));
  const auto area = static_cast<double>(sums.area);
  constexpr double kFill = 256 * 3 / 3.14159265358979323846;
  return {whole_up_to(std::sqrt(area * pixel) * 16, 4095),
          whole_up_to(area * area * area * kFill / (root * unit), 512),
          whole_up_to(static_cast<double>(down + across) * 128 / root, 2560)};
}

// A basin and its peak in sixteenths of a distance.
struct Side {
  int32_t peak;
  Moments sums;
};

NUCLEISEG_HOST_DEVICE bool is_lower(int32_t peak, const Shape& shape, int32_t other_peak,
                                    const Shape& other) {
  if (peak != other_peak) return peak < other_peak;
  if (shape.diameter != other.diameter) return shape.diameter < other.diameter;
  if (shape.fill != other.fill) return shape.fill < other.fill;
  return shape.elongation < other.elongation;
}

NUCLEISEG_HOST_DEVICE bool says_one(const int32_t* inputs, const MergeRule& rule) {
  int64_t sum = rule.output[kMergeUnits] * kMergeUnitOne;
  for (int unit = 0; unit < kMergeUnits; ++unit) {
    int64_t value = rule.units[unit][kMergeInputs] * kMergeInputOne;
    for (int i = 0; i < kMergeInputs; ++i) {
      value += int64_t{rule.units[unit][i]} * inputs[i];
    }
    if (value > 0) sum += rule.output[unit] * value;
  }
  return sum > 0;
}

// `pass` is how high the saddle between the two is, in sixteenths. Which side is which is all the
// same.
NUCLEISEG_HOST_DEVICE bool are_one(const Side& a, const Side& b, int32_t pass,
                                   const MergeRule& rule) {
  const Shape one = shape_of(a.sums, rule.pixel);
  const Shape other = shape_of(b.sums, rule.pixel);
  const Shape all = shape_of(sum_of(a.sums, b.sums), rule.pixel);
  const bool is_first = is_lower(a.peak, one, b.peak, other);
  const int32_t low = is_first ? a.peak : b.peak;
  const int32_t high = is_first ? b.peak : a.peak;
  const Shape& lower = is_first ? one : other;
  const Shape& higher = is_first ? other : one;
  const int32_t inputs[kMergeInputs] = {
      low - pass, low,         high,     lower.diameter,   higher.diameter,   all.diameter,
      lower.fill, higher.fill, all.fill, lower.elongation, higher.elongation, all.elongation};
  return says_one(inputs, rule);
}

}  // namespace nucleiseg::kernels
