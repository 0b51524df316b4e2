// The launches over the image for csrc/kernels/normalize.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/check.h"
#include "kernels/image.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

// What percentiles() finds, in device memory. The limits mean nothing where one of the counts is
// not 0.
struct Limits {
  double low;
  double high;
  double not_finite;  // how many values are not
  double beyond;      // how many are finite, but not as float32
};

size_t percentiles_workspace();

// The values that `low` and `high` per cent of all values of all channels lie at or below. Does not
// wait. `workspace` is as large as percentiles_workspace() says and is free again when the stream
// has come past.
void percentiles(const ImageView& image, double low, double high, Limits* found, void* workspace,
                 cudaStream_t stream);

// Writes (height, width, 3) bytes. The image has one channel or three. The limits are those in
// device memory, or `low` and `high` where that is null. Does not wait.
void normalize(const ImageView& image, const Limits* limits, float low, float high, uint8_t* out,
               cudaStream_t stream);

}  // namespace nucleiseg::NUCLEISEG_DEVICE
