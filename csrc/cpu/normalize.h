// The loops over the image for csrc/kernels/normalize.h.
#pragma once

#include <cstdint>
#include <utility>

#include "cpu/image.h"

namespace nucleiseg::cpu {

// The values that `low` and `high` per cent of all values of all channels lie at or below: order
// statistics, by histogram. Throws std::invalid_argument where a value is not finite.
std::pair<double, double> percentiles(const ImageView& image, double low, double high, int threads);

// Says that of `all` values these many are not finite, or are finite but not as float32.
[[noreturn]] void fail_not_finite(uint64_t not_finite, uint64_t beyond, uint64_t all);

// Writes (height, width, 3) bytes to `out`. The image has one channel or three.
void normalize(const ImageView& image, float low, float high, uint8_t* out, int threads);

}  // namespace nucleiseg::cpu
