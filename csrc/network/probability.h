// The level of a logit, from which processors make what they look it up in.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/network.h"

namespace nucleiseg::network {

inline int32_t rounded_probability(int32_t logit) {
  const double units = static_cast<double>(logit) / kernels::kLogitSteps;
  return static_cast<int32_t>(std::lround(255.0 / (1.0 + std::exp(-units))));
}

}  // namespace nucleiseg::network
