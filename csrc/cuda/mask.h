// The launch over the maps for kernels::is_nucleus (csrc/kernels/label.h).
#pragma once

#include <cstdint>

#include "cuda/check.h"
#include "nucleiseg/image.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

// Writes (height, width) bytes, 1 where nucleus. Does not wait.
void mask(const ImageView& maps, uint8_t threshold, uint8_t* out, cudaStream_t stream);

}  // namespace nucleiseg::NUCLEISEG_DEVICE
