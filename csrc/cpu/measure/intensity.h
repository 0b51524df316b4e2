// The intensities of a label's pixels.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "cpu/image.h"
#include "cpu/measure/runs.h"

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
  const auto go = [&](const std::byte* value, int64_t count, std::ptrdiff_t step) {
    for (int64_t i = 0; i < count; ++i) {
      T typed;
      std::memcpy(&typed, value + i * step, sizeof typed);
      fn(typed);
    }
  };
  const auto size = static_cast<std::ptrdiff_t>(sizeof(T));
  for (const Run* run = begin; run != end; ++run) {
    const std::byte* first = image.data + run->row * image.row_stride +
                             run->begin * image.column_stride + channel * image.channel_stride;
    const int64_t count = run->end - run->begin;
    // A step that is known when compiling lets this loop be vectorised.
    if (image.column_stride == size) {
      go(first, count, size);
    } else {
      go(first, count, image.column_stride);
    }
  }
}

template <class Run>
int64_t count_pixels(const Run* begin, const Run* end) {
  int64_t count = 0;
  for (const Run* run = begin; run != end; ++run) count += run->end - run->begin;
  return count;
}

// Whole numbers of up to 16 bits: sums of squares fit 64, so nothing is rounded before the end.
template <class T, class Run>
Intensity whole_intensity(const ImageView& image, int64_t channel, const Run* begin,
                          const Run* end) {
  int64_t sum = 0;
  uint64_t squares = 0;
  T least = std::numeric_limits<T>::max();
  T greatest = std::numeric_limits<T>::lowest();
  each_value<T>(image, channel, begin, end, [&](T value) {
    const int64_t wide = value;
    sum += wide;
    squares += static_cast<uint64_t>(wide * wide);
    least = value < least ? value : least;
    greatest = value > greatest ? value : greatest;
  });
  const int64_t pixels = count_pixels(begin, end);
  const auto count = static_cast<double>(pixels);
  const auto spread = static_cast<double>(static_cast<__int128>(pixels) * squares -
                                          static_cast<__int128>(sum) * sum);
  return {static_cast<double>(sum) / count, std::sqrt(spread) / count, static_cast<double>(least),
          static_cast<double>(greatest)};
}

// Two passes, since a sum of squares would cancel. Sums go from pixel to pixel in raster order.
template <class T, class Run>
Intensity real_intensity(const ImageView& image, int64_t channel, const Run* begin,
                         const Run* end) {
  double sum = 0.0;
  double least = std::numeric_limits<double>::infinity();
  double greatest = -least;
  each_value<T>(image, channel, begin, end, [&](double value) {
    sum += value;
    least = value < least ? value : least;
    greatest = value > greatest ? value : greatest;
  });
  const auto count = static_cast<double>(count_pixels(begin, end));
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

template <class T, class Run>
Intensity intensity(const ImageView& image, int64_t channel, const Run* begin, const Run* end) {
  if (begin == end) return {};
  if constexpr (std::is_integral_v<T>) {
    return whole_intensity<T>(image, channel, begin, end);
  } else {
    return real_intensity<T>(image, channel, begin, end);
  }
}

}  // namespace nucleiseg::cpu
