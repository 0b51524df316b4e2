// What every processor refuses of a layer, in the same words: std::invalid_argument.
#pragma once

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "network/weights.h"

namespace nucleiseg::network {

constexpr int kSide = 3;          // of a convolution's kernel
constexpr int kGrowth = 2;        // of a transposed one's
constexpr int kMostHalvings = 8;  // of the image's sides
constexpr int kMostChannels = 1024;
constexpr size_t kMostSources = 2;
constexpr int kMostLevels = 1 << 30;  // that a sum may be, before it is cut to its range

inline void check(bool good, const std::string& message) {
  if (!good) throw std::invalid_argument(message);
}

// `unit` is what the processor takes channels by.
inline void check_width(const Kernel& kernel, int unit) {
  const int64_t width = kernel.outputs;
  check(unit <= width && width <= kMostChannels && width % unit == 0,
        "kernel: got " + std::to_string(width) + " output channels; accepted are multiples of " +
            std::to_string(unit) + " up to " + std::to_string(kMostChannels));
}

inline void check_kernel(const Kernel& kernel, int64_t inputs, const Rounding& rounding) {
  check(kernel.inputs == inputs, "kernel: has " + std::to_string(kernel.inputs) +
                                     " input channels, its source has " + std::to_string(inputs));
  const auto outputs = static_cast<size_t>(kernel.outputs);
  check(rounding.factors.size() == outputs && rounding.offsets.size() == outputs,
        "factors, offsets: accepted is one for each of " + std::to_string(outputs) + " outputs");
  // So that every sum, brought to its scale, fits into 32 bits.
  const double largest = 255.0 * 127 * kSide * kSide * kMostChannels * kMostSources;
  for (size_t i = 0; i < outputs; ++i) {
    const double bound = std::fabs(rounding.factors[i]) * largest + std::fabs(rounding.offsets[i]);
    check(bound < kMostLevels,
          "factors, offsets: accepted are finite numbers that bring sums below " +
              std::to_string(kMostLevels));
  }
}

}  // namespace nucleiseg::network
