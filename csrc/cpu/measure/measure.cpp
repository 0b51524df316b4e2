// One parallel pass over strips of rows finds the runs of each label, another those of the rings;
// both are then sorted by label, and each label is measured by one thread from its runs. So sums
// have one order, and the thread count does not show in the result.
#include "cpu/measure/measure.h"

#include <algorithm>
#include <cmath>

#include "cpu/measure/hull.h"
#include "cpu/measure/runs.h"
#include "kernels/merge.h"
#include "threads/parallel.h"

namespace nucleiseg::cpu {
namespace {

using kernels::kPi;

constexpr int64_t kLabelsPerThread = 64;

// Coordinates are counted from the first row and the first run's beginning.
kernels::Moments moments(const NucleusRun* first, const NucleusRun* last) {
  kernels::Moments sums;
  for (const NucleusRun* run = first; run != last; ++run) {
    sums =
        kernels::sum_of(sums, kernels::moments_of(static_cast<uint64_t>(run->row - first->row),
                                                  static_cast<uint64_t>(run->begin - first->begin),
                                                  static_cast<uint64_t>(run->end - run->begin)));
  }
  return sums;
}

// area * sum(a b) - sum(a) * sum(b), rounded once: the covariance times the squared area.
template <class Sum>
double covariance2(uint64_t area, Sum product, int64_t a, int64_t b) {
  return static_cast<double>(static_cast<__int128>(area) * product - static_cast<__int128>(a) * b);
}

// The ellipse with the same second moments.
void measure_axes(const kernels::Moments& sums, Shape& shape) {
  const double scale = static_cast<double>(sums.area) * static_cast<double>(sums.area);
  const auto row = static_cast<int64_t>(sums.row);
  const auto column = static_cast<int64_t>(sums.column);
  const auto product = static_cast<int64_t>(sums.row_column);
  const double rows = covariance2(sums.area, sums.row_row, row, row) / scale;
  const double columns = covariance2(sums.area, sums.column_column, column, column) / scale;
  const double mixed = covariance2(sums.area, product, row, column) / scale;
  const double middle = (rows + columns) / 2.0;
  const double spread = std::hypot((rows - columns) / 2.0, mixed);
  const double major = middle + spread;
  const double minor = std::max(0.0, middle - spread);
  shape.major_axis = 4.0 * std::sqrt(major);
  shape.minor_axis = 4.0 * std::sqrt(minor);
  shape.eccentricity = major > 0.0 ? std::sqrt(1.0 - minor / major) : 0.0;
  if (rows == columns) {
    shape.orientation = mixed > 0.0 ? kPi / 4.0 : -kPi / 4.0;
  } else {
    shape.orientation = 0.5 * std::atan2(2.0 * mixed, rows - columns);
  }
}

void measure_box(const LabelView& labels, const NucleusRun* first, const NucleusRun* last,
                 Shape& shape) {
  int64_t left = first->begin;
  int64_t right = first->end;
  for (const NucleusRun* run = first; run != last; ++run) {
    left = std::min<int64_t>(left, run->begin);
    right = std::max<int64_t>(right, run->end);
  }
  const int64_t box[4] = {first->row, left, last[-1].row + 1, right};
  std::copy(box, box + 4, shape.box);
  shape.border = box[0] == 0 || left == 0 || box[2] == labels.height || right == labels.width;
}

double perimeter(const NucleusRun* first, const NucleusRun* last) {
  kernels::Crossings crossings = {0, 0};
  for (const NucleusRun* run = first; run != last; ++run) {
    crossings.straight += run->crossings.straight;
    crossings.diagonal += run->crossings.diagonal;
  }
  return kernels::perimeter(crossings);
}

Shape measure_shape(const LabelView& labels, const NucleusRun* first, const NucleusRun* last) {
  Shape shape;
  if (first == last) return shape;
  const kernels::Moments sums = moments(first, last);
  const auto area = static_cast<double>(sums.area);
  shape.area = static_cast<int64_t>(sums.area);
  shape.centroid[0] = first->row + static_cast<double>(static_cast<int64_t>(sums.row)) / area;
  shape.centroid[1] = first->begin + static_cast<double>(static_cast<int64_t>(sums.column)) / area;
  shape.diameter = std::sqrt(4.0 * area / kPi);
  measure_axes(sums, shape);
  measure_box(labels, first, last, shape);
  shape.perimeter = perimeter(first, last);
  shape.circularity = 4.0 * kPi * area / (shape.perimeter * shape.perimeter);
  shape.solidity = area / static_cast<double>(hull_area(first, last));
  return shape;
}

// 255 is 1.
double mean_probability(const ImageView& maps, const NucleusRun* first, const NucleusRun* last) {
  int64_t sum = 0;
  each_value<uint8_t>(maps, 0, first, last, [&](uint8_t value) { sum += value; });
  const int64_t count = count_pixels(first, last);
  return count > 0 ? static_cast<double>(sum) / (255.0 * static_cast<double>(count)) : kNan;
}

template <class Function>
void each_label(int32_t count, int threads, Function&& fn) {
  parallel_for(count, kLabelsPerThread, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) fn(i + 1, static_cast<size_t>(i));
  });
}

template <class Run>
std::vector<Intensity> measure_intensities(const ImageView& image, const Groups<Run>& runs,
                                           int32_t count, int threads) {
  std::vector<Intensity> found(static_cast<size_t>(count * image.channels));
  with_value_type(image.type, [&](auto zero) {
    each_label(count, threads, [&](int64_t label, size_t i) {
      for (int64_t c = 0; c < image.channels; ++c) {
        found[i * static_cast<size_t>(image.channels) + static_cast<size_t>(c)] =
            intensity<decltype(zero)>(image, c, runs.begin(label), runs.end(label));
      }
    });
  });
  return found;
}

}  // namespace

Measures measure(const MeasureInputs& inputs, int threads) {
  const LabelView& labels = inputs.labels;
  const int32_t count = inputs.count;
  const Groups<NucleusRun> runs = nucleus_runs(labels, count, threads);
  Measures found;
  found.shapes.resize(static_cast<size_t>(count));
  each_label(count, threads, [&](int64_t label, size_t i) {
    found.shapes[i] = measure_shape(labels, runs.begin(label), runs.end(label));
  });
  if (inputs.maps != nullptr) {
    found.probabilities.resize(static_cast<size_t>(count));
    each_label(count, threads, [&](int64_t label, size_t i) {
      found.probabilities[i] = mean_probability(*inputs.maps, runs.begin(label), runs.end(label));
    });
  }
  if (inputs.image != nullptr) {
    found.nuclei = measure_intensities(*inputs.image, runs, count, threads);
    const Groups<LabelRun> rings = ring_runs(labels, count, inputs.reach, threads);
    found.rings = measure_intensities(*inputs.image, rings, count, threads);
  }
  return found;
}

}  // namespace nucleiseg::cpu
