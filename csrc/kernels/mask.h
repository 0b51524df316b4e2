// The mask: a pixel is nucleus where the network's nucleus probability reaches the threshold.
#pragma once

#include <cstdint>

#include "kernels/portable.h"

namespace nucleiseg::kernels {

NUCLEISEG_HOST_DEVICE bool is_nucleus(uint8_t probability, uint8_t threshold) {
  return probability >= threshold;
}

}  // namespace nucleiseg::kernels
