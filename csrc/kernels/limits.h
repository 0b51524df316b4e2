// The two intensities of an image that become 0 and 255.
//
// They are percentiles, low and high, of all values, with three corrections that leave the limits
// of a field full of nuclei as they are. Noise and background are estimated first, from a sparse
// grid of pixels: the median value, and the median difference of values two pixels apart. What lies
// above or below the background by more than the noise is the foreground.
//
// 1. Values far beyond the foreground (no data, hot pixels, debris) are set apart: the percentiles
//    are those of the rest.
// 2. In an almost empty field percentiles of all values lie in the noise. There the upper limit is
//    exceeded by at most a tenth of the foreground, and the lower one undercut by at most half of
//    it.
// 3. An image whose limits are no further apart than noise is blank: both become the same.
//
// Decisions are made on counts and on single-precision operations without fused multiply-add, so
// every device gives the same limits.
#pragma once

#include <cfloat>
#include <cstdint>
#include <limits>

#include "kernels/normalize.h"

namespace nucleiseg::kernels {

// Of the grid on which noise and background are estimated: at least so many places an axis, where
// the image has them, and at most twice as many. The median difference of 1,024 pixels of white
// noise is within 4 % (its standard deviation) of that of all.
constexpr int64_t kSamplePlaces = 32;

// Differences are taken across two pixels: neighbours are correlated by colour filters and
// resizing.
constexpr int64_t kSampleLag = 2;

// The limits of white noise with a standard deviation of 1 are 5.2 apart, and the median difference
// is 0.95; those of the 1,265 training images (1 to 99.8 %) are at least 10.9 median
// differences apart.
constexpr float kNoiseSpan = 7.0f;
constexpr float kNoiseRise = 6.0f;

// JPEG leaves up to 20 grey levels of patterns where there was noise (standard deviation 5, quality
// 30 to 95). The limits of the training images are at least 24 levels apart, in bright-field 51.
constexpr float kLeastLevels = 20.0f;
constexpr float kMostLevels = 40.0f;
constexpr float kLeastContrast = 1.0f / 6.0f;
constexpr float kQuantizedRise = 0.75f;

// The excess over the background is counted in half octaves.
constexpr int kExcessBins = 257;
constexpr int kFarBins = 7;  // a factor of 8 to 16: "far beyond" 85 % of the foreground
constexpr uint64_t kUsualPercent = 85;
constexpr int kGapBins = 6;           // a factor of 8 in which there is next to nothing
constexpr uint64_t kGapShare = 16;    // of what lies beyond the gap
constexpr uint64_t kSparse = 50;      // a foreground of less than a 50th of the values is sparse
constexpr uint64_t kSparseHigh = 10;  // the part of the foreground that is above the upper limit
constexpr uint64_t kSparseLow = 2;    // and of that below the lower one
constexpr uint64_t kOneSided = 10;    // a side with less than a 10th of the other's is no content
constexpr uint64_t kFewest = 32;      // values of the smallest nucleus that counts

// The ceiling where nothing above is set apart.
constexpr float kNoCeiling = std::numeric_limits<float>::infinity();

// One axis of the grid: places first, first + step, ...
struct SampleAxis {
  int64_t first;
  int64_t step;
  int64_t count;
};

NUCLEISEG_HOST_DEVICE SampleAxis sample_axis(int64_t length) {
  const int64_t step = length / kSamplePlaces > 1 ? length / kSamplePlaces : 1;
  const int64_t first = step / 2;
  return {first, step, (length - first + step - 1) / step};
}

NUCLEISEG_HOST_DEVICE int64_t sample_lag(int64_t width) {
  return width > kSampleLag ? kSampleLag : width - 1;
}

// Places of an axis from which the lag stays within the image.
NUCLEISEG_HOST_DEVICE int64_t sample_pairs(SampleAxis columns, int64_t width) {
  const int64_t lag = sample_lag(width);
  const int64_t room = width - lag - columns.first;
  if (lag == 0 || room <= 0) return 0;
  const int64_t pairs = (room + columns.step - 1) / columns.step;
  return pairs < columns.count ? pairs : columns.count;
}

NUCLEISEG_HOST_DEVICE float difference(float a, float b) { return a < b ? b - a : a - b; }

NUCLEISEG_HOST_DEVICE float least_of(float a, float b) { return a < b ? a : b; }
NUCLEISEG_HOST_DEVICE float greatest_of(float a, float b) { return a < b ? b : a; }

struct Noise {
  float background;
  float per_rise;  // 1 over the least excess of the foreground
  float span;      // limits that are less apart are those of noise
};

// `step` is the least difference that is not 0, of images other than bytes: how they were
// quantized.
NUCLEISEG_HOST_DEVICE Noise noise_of(float background, float median_difference, float step,
                                     bool is_byte) {
  const float contrast = difference(background, 0.0f) * kLeastContrast;
  const float quantized = is_byte ? least_of(greatest_of(contrast, kLeastLevels), kMostLevels)
                                  : least_of(contrast, kMostLevels * step);
  const float rise = greatest_of(kNoiseRise * median_difference, kQuantizedRise * quantized);
  return {background, 1.0f / greatest_of(rise, FLT_MIN),
          greatest_of(kNoiseSpan * median_difference, quantized)};
}

// The value that stands for all with the same high half of their order keys.
NUCLEISEG_HOST_DEVICE float coarse(float value) {
  return value_of_float_key(order_key(value) & 0xffff0000u);
}

// The half octave in which a value rises above the background or falls below it; below 0 is noise.
NUCLEISEG_HOST_DEVICE int excess_bin(float value, const Noise& noise) {
  const float excess = difference(value, noise.background) * noise.per_rise;
  uint32_t bits;
  memcpy(&bits, &excess, sizeof bits);
  constexpr int kOne = 0x3f800000 >> 22;
  const int bin = static_cast<int>(bits >> 22) - kOne;
  return bin < kExcessBins ? bin : kExcessBins - 1;
}

struct Foreground {
  int end;  // values of this bin and beyond are set apart; kExcessBins where none are
  uint64_t above;
  uint64_t below;
};

// The counts of values by their excess, above and below the background.
struct Excess {
  const uint64_t* above;
  const uint64_t* below;
};

NUCLEISEG_HOST_DEVICE uint64_t count_at(const Excess& counts, int bin) {
  return counts.above[bin] + counts.below[bin];
}

// The first bin that is far beyond most of the foreground.
NUCLEISEG_HOST_DEVICE int far_bin(const Excess& counts, int top, uint64_t total) {
  const uint64_t usual = (total * kUsualPercent + 99) / 100;
  int bin = 0;
  for (uint64_t sum = count_at(counts, 0); sum < usual && bin < top;)
    sum += count_at(counts, ++bin);
  return bin + kFarBins;
}

// The first bin of the first gap that has foreground inside of it. The first octave does not count:
// where it stands alone it is noise, and what lies beyond is the foreground.
NUCLEISEG_HOST_DEVICE int gap_bin(const Excess& counts, int top, uint64_t total, uint64_t all) {
  constexpr int kFirst = 2;
  uint64_t inside = 0;
  uint64_t gap = 0;
  uint64_t outside = total;
  for (int bin = 0; bin < kFirst + kGapBins && bin <= top; ++bin) {
    outside -= count_at(counts, bin);
    if (bin >= kFirst) gap += count_at(counts, bin);
  }
  for (int bin = kFirst; bin + kGapBins <= top; ++bin) {
    if (inside > 0 && gap * kGapShare <= outside && outside * 2 <= all) return bin;
    inside += count_at(counts, bin);
    gap = gap - count_at(counts, bin) + count_at(counts, bin + kGapBins);
    outside -= count_at(counts, bin + kGapBins);
  }
  return kExcessBins;
}

// Of `all` values.
NUCLEISEG_HOST_DEVICE Foreground foreground(const Excess& counts, uint64_t all) {
  uint64_t total = 0;
  int top = 0;
  for (int bin = 0; bin < kExcessBins; ++bin) {
    total += count_at(counts, bin);
    if (count_at(counts, bin) > 0) top = bin;
  }
  Foreground found = {kExcessBins, 0, 0};
  if (total == 0) return found;
  const int far = far_bin(counts, top, total);
  const int gap = gap_bin(counts, top, total, all);
  const int end = far < gap ? far : gap;
  if (end <= top) found.end = end;
  for (int bin = 0; bin < end && bin <= top; ++bin) {
    found.above += counts.above[bin];
    found.below += counts.below[bin];
  }
  return found;
}

// Order keys, or their high halves, of the values that are not set apart.
struct Window {
  uint32_t first;
  uint32_t last;
};

// The high halves of the keys of finite floats.
NUCLEISEG_HOST_DEVICE Window finite_halves() {
  return {order_key(-FLT_MAX) >> 16, order_key(FLT_MAX) >> 16};
}

// Of the keys first..last, whose values are value_of(key).
template <class ValueOf>
NUCLEISEG_HOST_DEVICE Window window_of(const Noise& noise, int end, Window keys,
                                       const ValueOf& value_of) {
  if (end == kExcessBins) return keys;
  const auto is_apart = [&](uint32_t key, bool is_above) {
    const float value = value_of(key);
    const bool that_side = is_above ? value > noise.background : value < noise.background;
    return that_side && excess_bin(value, noise) >= end;
  };
  Window found = keys;
  for (uint32_t step = 1u << 15; step > 0; step /= 2) {
    const uint32_t low = found.first + step - 1;
    if (low < keys.last && is_apart(low, false)) found.first = low + 1;
    const uint32_t high = found.last - (step - 1);
    if (found.last >= keys.first + step && is_apart(high, true)) found.last = high - 1;
  }
  return found;
}

struct Ranks {
  uint64_t low;
  uint64_t high;
};

// The order statistics that the limits are, among `kept` values that are not set apart.
NUCLEISEG_HOST_DEVICE Ranks ranks_of(const Foreground& found, uint64_t kept, double low,
                                     double high) {
  Ranks ranks = {rank_of(low, kept), rank_of(high, kept)};
  if ((found.above + found.below) * kSparse >= kept) return ranks;
  if (found.above >= kFewest && found.above * kOneSided >= found.below) {
    const uint64_t rank = kept - 1 - found.above / kSparseHigh;
    if (rank > ranks.high) ranks.high = rank;
  }
  if (found.below >= kFewest && found.below * kOneSided >= found.above) {
    const uint64_t rank = found.below / kSparseLow;
    if (rank < ranks.low) ranks.low = rank;
  }
  return ranks;
}

NUCLEISEG_HOST_DEVICE bool is_blank(float low, float high, const Noise& noise) {
  return high - low < noise.span;
}

}  // namespace nucleiseg::kernels
