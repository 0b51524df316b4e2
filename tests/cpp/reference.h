// What each kernel must give, a value at a time and from its definition, for the self-test. Slow,
// and compiled without vector instructions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu/normalize/normalize.h"
#include "kernels/label.h"
#include "kernels/limits.h"
#include "kernels/tiles.h"

namespace nucleiseg::reference {

using Bytes = std::vector<uint8_t>;

struct Size {
  int64_t height;
  int64_t width;
};

struct Labels {
  std::vector<int32_t> ids;
  int32_t count;
};

inline float median(std::vector<float> values) {
  if (values.empty()) return 0.0f;
  std::sort(values.begin(), values.end());
  return values[(values.size() - 1) / 2];
}

// `values` are those of the image, which has no gaps. The ceiling is the largest value below the
// real one.
template <class T>
cpu::Limits limits(const ImageView& image, const std::vector<T>& values, double low, double high) {
  const auto value = [&](int64_t row, int64_t column, int64_t channel) {
    return static_cast<float>(
        values[static_cast<size_t>((row * image.width + column) * image.channels + channel)]);
  };
  const int64_t down = std::max<int64_t>(1, image.height / kernels::kSamplePlaces);
  const int64_t across = std::max<int64_t>(1, image.width / kernels::kSamplePlaces);
  const int64_t lag = std::min(kernels::kSampleLag, image.width - 1);
  std::vector<float> samples;
  std::vector<float> differences;
  float step = 0.0f;
  for (int64_t row = down / 2; row < image.height; row += down) {
    for (int64_t column = across / 2; column < image.width; column += across) {
      for (int64_t channel = 0; channel < image.channels; ++channel) {
        samples.push_back(value(row, column, channel));
        if (lag == 0 || column + lag >= image.width) continue;
        differences.push_back(std::fabs(samples.back() - value(row, column + lag, channel)));
        if (differences.back() > 0 && (step == 0 || differences.back() < step)) {
          step = differences.back();
        }
      }
    }
  }
  const kernels::Noise noise =
      kernels::noise_of(median(samples), median(differences), step, sizeof(T) == 1);
  std::vector<float> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  std::vector<uint64_t> above(kernels::kExcessBins);
  std::vector<uint64_t> below(kernels::kExcessBins);
  const auto counted = [](float one) {
    return std::is_floating_point_v<T> ? kernels::coarse(one) : one;
  };
  for (const float one : sorted) {
    const int bin = kernels::excess_bin(counted(one), noise);
    if (bin >= 0) ++(counted(one) > noise.background ? above : below)[static_cast<size_t>(bin)];
  }
  const kernels::Foreground found =
      kernels::foreground({above.data(), below.data()}, sorted.size());
  std::vector<float> kept;
  bool is_limited = false;
  for (const float one : sorted) {
    if (kernels::excess_bin(counted(one), noise) < found.end) {
      kept.push_back(one);
    } else if (counted(one) > noise.background) {
      is_limited = true;
    }
  }
  const kernels::Ranks ranks = kernels::ranks_of(found, kept.size(), low, high);
  const float first = kept[ranks.low];
  const float last = kept[ranks.high];
  const auto apart = static_cast<double>(sorted.size() - kept.size());
  return {first, kernels::is_blank(first, last, noise) ? first : last,
          is_limited ? kept.back() : kernels::kNoCeiling,
          apart / static_cast<double>(sorted.size())};
}

// One byte a value.
template <class T>
Bytes normalize(const std::vector<T>& values, float low, float high, float ceiling) {
  Bytes bytes;
  for (const T value : values) {
    const float factor = high > low ? 255.0f / (high - low) : 0.0f;
    const float scaled = (static_cast<float>(value) - low) * factor;
    float rounded = 0;
    if (scaled > 0) rounded = scaled < 255 ? std::floor(scaled + 0.5f) : 255;
    if (static_cast<float>(value) > ceiling) rounded = 0;
    bytes.push_back(static_cast<uint8_t>(rounded));
  }
  return bytes;
}

// Each of `maps`, here and below, is (height, width, 2).
Bytes mask(const Bytes& maps, uint8_t threshold);

// `image` is (height, width, 3); gives one tile.
Bytes gather(const Bytes& image, Size size, kernels::Point origin, Size tile);

// Puts one tile's core to its place in `maps`; `cells` is (tile / 2, tile / 2, 2, 2, 2).
void assemble(const Bytes& cells, int64_t tile, kernels::Point origin,
              const kernels::Rectangle& core, Size size, Bytes& maps);

Labels label(const Bytes& maps, Size size, const kernels::LabelRule& rule);

}  // namespace nucleiseg::reference
