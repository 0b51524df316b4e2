// From intensities of any type to the bytes that the network sees.
//
// Two limits are found, percentiles that are robust against empty fields, hot pixels and debris
// (csrc/kernels/limits.h defines them), and what lies between them is stretched to 0..255
// (csrc/kernels/normalize.h). The percentiles are exact: a histogram of all values; of floats one
// of the high halves of their ordered bits, then of the low halves in two bins (as a radix sort
// takes digits: Herf, "Radix Tricks", 2001). Linear in the pixels; floats are read twice.
#pragma once

#include <cstdint>

#include "cpu/image.h"

namespace nucleiseg::cpu {

// What csrc/kernels/limits.h defines. A blank image has two equal limits.
struct Limits {
  double low;
  double high;
  double ceiling;  // values above it are set apart and become 0; infinite where nothing is
  double apart;    // the part of the values that is set apart
};

// `low` and `high` are percentages. Throws std::invalid_argument where a value is not finite.
Limits limits(const ImageView& image, double low, double high, int threads);

// Says that of `all` values these many are not finite, or are finite but not as float32.
[[noreturn]] void fail_not_finite(uint64_t not_finite, uint64_t beyond, uint64_t all);

// Writes (height, width, 3) bytes to `out`; 0 for values above the ceiling. The image has one
// channel or three.
void normalize(const ImageView& image, float low, float high, float ceiling, uint8_t* out,
               int threads);

}  // namespace nucleiseg::cpu
