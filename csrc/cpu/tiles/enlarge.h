// Maps brought from the size at which the network saw a shrunk image to the image's own, by
// bilinear interpolation in fixed point: bit for bit what OpenCV's INTER_LINEAR gives for bytes.
#pragma once

#include <cstdint>

#include "cpu/image.h"

namespace nucleiseg::cpu {

// `maps` are (h, w, 2) bytes with any strides; writes (height, width, 2), neither side below
// theirs.
void enlarge_maps(const ImageView& maps, int64_t height, int64_t width, uint8_t* out, int threads);

}  // namespace nucleiseg::cpu
