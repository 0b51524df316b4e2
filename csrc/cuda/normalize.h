// The launches over the image for csrc/kernels/normalize.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/check.h"
#include "nucleiseg/image.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

// What csrc/kernels/limits.h defines, in device memory. It means nothing where one of the counts is
// not 0.
struct Limits {
  double low;
  double high;
  double ceiling;
  double apart;
  double not_finite;  // how many values are not
  double beyond;      // how many are finite, but not as float32
};

size_t limits_workspace();

// `low` and `high` are percentages. Does not wait. `workspace` is as large as limits_workspace()
// says and is free again when the stream has come past.
void limits_of(const ImageView& image, double low, double high, Limits* found, void* workspace,
               cudaStream_t stream);

// Writes (height, width, 3) bytes. The image has one channel or three. The limits are in device
// memory. Does not wait.
void normalize(const ImageView& image, const Limits* limits, uint8_t* out, cudaStream_t stream);

}  // namespace nucleiseg::NUCLEISEG_DEVICE
