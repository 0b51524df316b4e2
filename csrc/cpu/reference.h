// What each kernel must give, a value at a time and from its definition, for the self-test. Slow,
// and compiled without vector instructions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/label.h"
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

template <class T>
double percentile(std::vector<T> values, double percent) {
  const double position = static_cast<double>(values.size() - 1) * (percent / 100.0);
  std::sort(values.begin(), values.end());
  return static_cast<float>(values[static_cast<size_t>(std::floor(position))]);
}

// One byte a value.
template <class T>
Bytes normalize(const std::vector<T>& values, float low, float high) {
  Bytes bytes;
  for (const T value : values) {
    const float factor = high > low ? 255.0f / (high - low) : 0.0f;
    const float scaled = (static_cast<float>(value) - low) * factor;
    float rounded = 0;
    if (scaled > 0) rounded = scaled < 255 ? std::floor(scaled + 0.5f) : 255;
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
