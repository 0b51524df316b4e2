// The launch over the maps for kernels::is_nucleus (csrc/kernels/label.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/check.h"
#include "nucleiseg/image.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

// Writes (height, width) bytes, 1 where nucleus, in rows `row_stride` bytes apart. Does not wait.
void mask(const ImageView& maps, uint8_t threshold, uint8_t* out, std::ptrdiff_t row_stride,
          cudaStream_t stream);

}  // namespace nucleiseg::NUCLEISEG_DEVICE
