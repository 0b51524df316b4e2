// The intensities of a label's pixels.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "cpu/image.h"
#include "cpu/runs.h"

namespace nucleiseg::cpu {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// nan where there are no pixels, or one of them is nan.
struct Intensity {
  double mean = kNan;
  double std = kNan;  // of the population: divided by the number of pixels
  double min = kNan;
  double max = kNan;
};

// Calls fn(value) for each pixel of the runs, in one channel of the image of T.
template <class T, class Run, class Function>
void each_value(const ImageView& image, int64_t channel, const Run* begin, const Run* end,
                Function&& fn) {
  for (const Run* run = begin; run != end; ++run) {
    const std::byte* value = image.data + run->row * image.row_stride +
                             run->begin * image.column_stride + channel * image.channel_stride;
    for (int32_t column = run->begin; column < run->end; ++column) {
      T typed;
      std::memcpy(&typed, value, sizeof typed);
      fn(static_cast<double>(typed));
      value += image.column_stride;
    }
  }
}

// Two passes, since a sum of squares would cancel. Sums go from pixel to pixel in raster order.
template <class T, class Run>
Intensity intensity(const ImageView& image, int64_t channel, const Run* begin, const Run* end) {
  if (begin == end) return {};
  double count = 0.0;
  double sum = 0.0;
  double least = std::numeric_limits<double>::infinity();
  double greatest = -least;
  each_value<T>(image, channel, begin, end, [&](double value) {
    count += 1.0;
    sum += value;
    least = value < least ? value : least;
    greatest = value > greatest ? value : greatest;
  });
  const double mean = sum / count;
  double squares = 0.0;
  bool is_nan = false;
  each_value<T>(image, channel, begin, end, [&](double value) {
    squares += (value - mean) * (value - mean);
    is_nan |= std::isnan(value);
  });
  if (is_nan) return {};
  return {mean, std::sqrt(squares / count), least, greatest};
}

}  // namespace nucleiseg::cpu
