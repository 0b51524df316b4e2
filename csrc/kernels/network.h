// The arithmetic of the integer network: what becomes of a sum of products.
//
// A convolution's products are added up exactly in 32 bits. One fused multiplication and addition
// in single precision brings the sum to the scale of the next tensor, and rounding to the nearest
// integer, halves to even, makes a byte of it again (Jacob et al. 2018,
// doi:10.1109/CVPR.2018.00286). So every processor gives the same bytes.
#pragma once

#include <cstdint>

#include "kernels/portable.h"

namespace nucleiseg::kernels {

// Output channels that are computed side by side, and input values multiplied at once for each.
constexpr int kLanes = 16;
constexpr int kProducts = 4;

// Logits are rounded to so many steps a unit: from one step to the next 255 / (1 + exp(-x)) moves
// by at most half a level. Its rounded values, of x from 0 on, are on straight lines that are
// rounded down, each of kLineSteps steps. The first is half a line: from 0 on there is no such set
// of lines.
constexpr int kLogitSteps = 128;
constexpr int kLineShift = 4;
constexpr int kLineSteps = 1 << kLineShift;
constexpr int kFirstStep = kLineSteps / 2;
constexpr int kLines = 64;
constexpr int kLogitLimit = kLines * kLineSteps - kFirstStep - 1;  // beyond it are 0 and 255
constexpr int kLineBits = 8;                                       // behind the point

struct Lines {
  uint16_t begins[kLines];
  uint16_t slopes[kLines];
};

// 255 / (1 + exp(-x)) of a logit within -kLogitLimit..kLogitLimit.
NUCLEISEG_HOST_DEVICE int32_t probability(int32_t logit, const Lines& lines) {
  const int32_t step = (logit < 0 ? -logit : logit) + kFirstStep;
  const int32_t line = step / kLineSteps;
  const int32_t height = lines.begins[line] + lines.slopes[line] * (step % kLineSteps);
  const int32_t found = height >> kLineBits;
  return logit < 0 ? 255 - found : found;
}

// A sum's level within low..high. Before that it must fit into 32 bits.
NUCLEISEG_HOST_DEVICE int32_t level(int32_t sum, float factor, float offset, int32_t low,
                                    int32_t high) {
  const float scaled = __builtin_fmaf(static_cast<float>(sum), factor, offset);
#if defined(__CUDA_ARCH__)
  const int32_t nearest = __float2int_rn(scaled);
#else
  const auto nearest = static_cast<int32_t>(__builtin_nearbyintf(scaled));
#endif
  return nearest < low ? low : nearest > high ? high : nearest;
}

}  // namespace nucleiseg::kernels
