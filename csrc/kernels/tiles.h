// Reflection at the image's border without repeating the border pixel: 2 1 | 0 1 2 | 1 0,
// NumPy's mode="reflect". The pattern has period 2 (size - 1); a single pixel repeats itself.
#pragma once

#include <cstdint>

#include "kernels/portable.h"

namespace nucleiseg::kernels {

NUCLEISEG_HOST_DEVICE int64_t reflect_period(int64_t size) { return size > 1 ? 2 * (size - 1) : 1; }

// The remainder that is never negative: where in the first period an index falls.
NUCLEISEG_HOST_DEVICE int64_t phase(int64_t index, int64_t period) {
  const int64_t remainder = index % period;
  return remainder < 0 ? remainder + period : remainder;
}

NUCLEISEG_HOST_DEVICE int64_t reflect(int64_t index, int64_t size) {
  const int64_t period = reflect_period(size);
  const int64_t forward = phase(index, period);
  return forward < size ? forward : period - forward;
}

}  // namespace nucleiseg::kernels
