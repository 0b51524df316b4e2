// The loop over the maps for csrc/kernels/mask.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/image.h"

namespace nucleiseg::cpu {

// Writes (height, width) bytes, 1 where nucleus, in rows `row_stride` bytes apart.
void mask(const ImageView& maps, uint8_t threshold, uint8_t* out, std::ptrdiff_t row_stride,
          int threads);

}  // namespace nucleiseg::cpu
