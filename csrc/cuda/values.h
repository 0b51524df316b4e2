// An image's values in memory order of (row, column, channel), whatever its strides.
#pragma once

#include <cstdint>

#include "cuda/pack.h"
#include "nucleiseg/image.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

// Do all values lie side by side, where wide accesses can begin?
template <class T>
bool is_gapless(const ImageView& image) {
  constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(T));
  const std::ptrdiff_t pixel = size * image.channels;
  return is_wide(image.data) && (image.channels == 1 || image.channel_stride == size) &&
         (image.width == 1 || image.column_stride == pixel) &&
         (image.height == 1 || image.row_stride == pixel * image.width);
}

// Elements need not be aligned, which the device insists on: byte by byte then.
template <class T>
__device__ __forceinline__ T value_at(const std::byte* address) {
  if (reinterpret_cast<uintptr_t>(address) % sizeof(T) == 0) {
    return *reinterpret_cast<const T*>(address);
  }
  T value;
  NUCLEISEG_UNROLL for (size_t i = 0; i < sizeof(T); ++i) {
    reinterpret_cast<unsigned char*>(&value)[i] = static_cast<unsigned char>(address[i]);
  }
  return value;
}

__device__ __forceinline__ const std::byte* pixel_at(const ImageView& image, int64_t pixel) {
  return image.data + pixel / image.width * image.row_stride +
         pixel % image.width * image.column_stride;
}

// Values first..first + Pack::kCount; those past the end repeat the last.
template <class T, bool gapless>
__device__ __forceinline__ Pack<T> values_at(const ImageView& image, int64_t first, int64_t count) {
  if (gapless && first + Pack<T>::kCount <= count) {
    return Pack<T>::load(image.data + first * static_cast<int64_t>(sizeof(T)));
  }
  Pack<T> found;
  NUCLEISEG_UNROLL for (int i = 0; i < Pack<T>::kCount; ++i) {
    const int64_t at = first + i < count ? first + i : count - 1;
    found.values[i] = value_at<T>(pixel_at(image, at / image.channels) +
                                  at % image.channels * image.channel_stride);
  }
  return found;
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
