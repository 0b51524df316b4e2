#include "cpu/tiles/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "threads/parallel.h"

namespace nucleiseg::cpu {
namespace {

// The pixels along one axis whose weighted sums are the target's pixels begin to end.
struct Taps {
  std::vector<size_t> first;  // of each of them, and the end
  std::vector<int64_t> sources;
  std::vector<float> weights;

  void add(int64_t source, double weight) {
    sources.push_back(source);
    weights.push_back(static_cast<float>(weight));
  }
  int64_t count() const { return static_cast<int64_t>(first.size()) - 1; }
};

constexpr double kLeastShare = 1e-3;  // of a pixel's length: less is not counted

void add_area(Taps& taps, int64_t source, double scale, int64_t target) {
  const double begin = static_cast<double>(target) * scale;
  const double end = begin + scale;
  const double length = std::min(scale, static_cast<double>(source) - begin);
  const int64_t last = std::min(static_cast<int64_t>(std::floor(end)), source - 1);
  const int64_t whole = std::min(static_cast<int64_t>(std::ceil(begin)), last);
  const double before = static_cast<double>(whole) - begin;
  const double after = std::min({end - static_cast<double>(last), 1.0, length});
  if (before > kLeastShare) taps.add(whole - 1, before / length);
  for (int64_t i = whole; i < last; ++i) taps.add(i, 1.0 / length);
  if (after > kLeastShare) taps.add(last, after / length);
}

constexpr double kCubic = -0.75;

void add_cubic(Taps& taps, int64_t source, double scale, int64_t target) {
  const double place = (static_cast<double>(target) + 0.5) * scale - 0.5;
  const auto left = static_cast<int64_t>(std::floor(place));
  const double x = place - static_cast<double>(left);
  const auto far = [](double d) {
    return ((kCubic * d - 5 * kCubic) * d + 8 * kCubic) * d - 4 * kCubic;
  };
  const auto near = [](double d) { return ((kCubic + 2) * d - (kCubic + 3)) * d * d + 1; };
  const double first = far(x + 1);
  const double second = near(x);
  const double third = near(1 - x);
  const double weights[] = {first, second, third, 1 - first - second - third};
  for (int64_t i = 0; i < 4; ++i) {
    taps.add(std::clamp<int64_t>(left - 1 + i, 0, source - 1), weights[i]);
  }
}

Taps make_taps(int64_t source, int64_t target, bool all_shrink, int64_t begin, int64_t end) {
  const double scale = 1.0 / (static_cast<double>(target) / static_cast<double>(source));
  Taps taps;
  taps.first.push_back(0);
  for (int64_t i = begin; i < end; ++i) {
    (all_shrink ? add_area : add_cubic)(taps, source, scale, i);
    taps.first.push_back(taps.sources.size());
  }
  return taps;
}

template <class T>
using SumOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Four values at once, of which the image's channels count.
constexpr int kLanes = 4;
template <class Sum>
using Pixel __attribute__((vector_size(kLanes * sizeof(Sum)))) = Sum;

template <class Sum>
void sum_along_grey_row(const Sum* values, const Taps& taps, Sum* out) {
  size_t k = 0;
  for (int64_t i = 0; i < taps.count(); ++i) {
    Sum sum = 0;
    for (const size_t end = taps.first[static_cast<size_t>(i) + 1]; k < end; ++k) {
      sum += values[taps.sources[k]] * static_cast<Sum>(taps.weights[k]);
    }
    out[i] = sum;
  }
}

// Both rows have room for kLanes - 1 more values at their end.
template <class Sum>
void sum_along_row(const Sum* values, const Taps& taps, int64_t channels, Sum* out) {
  if (channels == 1) {
    sum_along_grey_row(values, taps, out);
    return;
  }
  for (size_t i = 0; i + 1 < taps.first.size(); ++i, out += channels) {
    Pixel<Sum> sum = {};
    for (size_t k = taps.first[i]; k < taps.first[i + 1]; ++k) {
      Pixel<Sum> pixel;
      std::memcpy(&pixel, values + taps.sources[k] * channels, sizeof pixel);
      sum += pixel * static_cast<Sum>(taps.weights[k]);
    }
    std::memcpy(out, &sum, sizeof sum);
  }
}

// Rounds to the nearest, ties to even: adding a number of which 1 is the last bit.
template <class T>
T rounded(float sum, float offset) {
  constexpr float kLastBitIsOne = 3 << 22;
  constexpr auto kLeast = static_cast<float>(std::numeric_limits<T>::min());
  constexpr auto kGreatest = static_cast<float>(std::numeric_limits<T>::max());
  const float inside = std::min(std::max(sum + offset, kLeast), kGreatest);
  return static_cast<T>(static_cast<int32_t>((inside + kLastBitIsOne) - kLastBitIsOne));
}

// Rows of the source, summed along each; those that the next row needs again are kept.
template <class T>
class SummedRows {
 public:
  SummedRows(const ImageView& image, const Taps& columns, size_t most)
      : image_(image),
        columns_(columns),
        width_(static_cast<size_t>(columns.count() * image.channels)),
        begin_(columns.sources.front() * image.channels),
        end_((columns.sources.back() + 1) * image.channels),
        rows_(most, -1),
        sums_(most * (width_ + kLanes)),
        values_(static_cast<size_t>(image.values_per_row()) + kLanes) {}

  size_t width() const { return width_; }

  const SumOf<T>* row(int64_t row) {
    const size_t slot = static_cast<size_t>(row) % rows_.size();
    SumOf<T>* sums = sums_.data() + slot * (width_ + kLanes);
    if (rows_[slot] == row) return sums;
    rows_[slot] = row;
    const T* values = row_values<T>(image_, row, scratch_);
    std::copy_n(values + begin_, end_ - begin_, values_.begin() + begin_);
    sum_along_row(values_.data(), columns_, image_.channels, sums);
    return sums;
  }

 private:
  const ImageView& image_;
  const Taps& columns_;
  const size_t width_;
  const int64_t begin_;  // of the values that are needed of a row
  const int64_t end_;
  std::vector<int64_t> rows_;
  std::vector<SumOf<T>> sums_;
  std::vector<SumOf<T>> values_;
  std::vector<T> scratch_;
};

constexpr size_t kBlock = 2048;  // values whose sums stay in the first cache

template <class T>
void write_row(SummedRows<T>& sources, const Taps& rows, size_t i, float offset, T* out) {
  for (size_t k = rows.first[i]; k < rows.first[i + 1]; ++k) sources.row(rows.sources[k]);
  SumOf<T> sums[kBlock];
  for (size_t begin = 0; begin < sources.width(); begin += kBlock) {
    const size_t count = std::min(kBlock, sources.width() - begin);
    std::fill_n(sums, count, SumOf<T>{0});
    for (size_t k = rows.first[i]; k < rows.first[i + 1]; ++k) {
      const SumOf<T>* source = sources.row(rows.sources[k]) + begin;
      const SumOf<T> weight = rows.weights[k];
      for (size_t j = 0; j < count; ++j) sums[j] += source[j] * weight;
    }
    if constexpr (std::is_integral_v<T>) {
      for (size_t j = 0; j < count; ++j) out[begin + j] = rounded<T>(sums[j], offset);
    } else {
      std::copy_n(sums, count, out + begin);
    }
  }
}

// The most sources that a pixel has along an axis, which lie side by side.
size_t most_taps(const Taps& taps) {
  size_t most = 1;
  for (size_t i = 0; i + 1 < taps.first.size(); ++i) {
    most = std::max(most, taps.first[i + 1] - taps.first[i]);
  }
  return most;
}

// Where a side grows, none is averaged.
bool shrinks(const ImageView& image, int64_t height, int64_t width) {
  return height <= image.height && width <= image.width;
}

}  // namespace

RowRange resize_rows(const ImageView& image, int64_t height, int64_t width, int64_t begin,
                     int64_t end) {
  const bool all_shrink = shrinks(image, height, width);
  const Taps first = make_taps(image.height, height, all_shrink, begin, begin + 1);
  const Taps last = make_taps(image.height, height, all_shrink, end - 1, end);
  return {first.sources.front(), last.sources.back() + 1};
}

void resize(const ImageView& image, int64_t height, int64_t width, const Rectangle& part, void* out,
            int threads) {
  const bool all_shrink = shrinks(image, height, width);
  const Taps rows = make_taps(image.height, height, all_shrink, part.row_begin, part.row_end);
  const Taps columns =
      make_taps(image.width, width, all_shrink, part.column_begin, part.column_end);
  // OpenCV rounds the mean of 2 x 2 pixels half up, but not that of two channels.
  const bool half_up =
      image.height == 2 * height && image.width == 2 * width && image.channels != 2;
  const float offset = half_up ? 0.125F : 0.0F;
  with_value_type(image.type, [&](auto zero) {
    using T = decltype(zero);
    const int64_t row_length = columns.count() * image.channels;
    // Each thread sums a few of its neighbours' rows again.
    const int64_t grain = std::max<int64_t>(rows_per_thread(row_length), 32);
    parallel_for(rows.count(), grain, threads, [&](int64_t begin, int64_t end) {
      SummedRows<T> sources(image, columns, most_taps(rows));
      for (int64_t i = begin; i < end; ++i) {
        write_row(sources, rows, static_cast<size_t>(i), offset,
                  static_cast<T*>(out) + i * row_length);
      }
    });
  });
}

}  // namespace nucleiseg::cpu
