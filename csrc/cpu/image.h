// Rows of an image that others own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "nucleiseg/image.h"

namespace nucleiseg::cpu {

using nucleiseg::ImageView;
using nucleiseg::ValueType;

// One row's values side by side: the image's own memory where they already are, else `scratch`.
template <class T>
const T* row_values(const ImageView& image, int64_t row, std::vector<T>& scratch) {
  const std::byte* source = image.data + row * image.row_stride;
  const auto size = static_cast<std::ptrdiff_t>(sizeof(T));
  const bool dense = (image.channels == 1 || image.channel_stride == size) &&
                     (image.width == 1 || image.column_stride == size * image.channels) &&
                     reinterpret_cast<std::uintptr_t>(source) % alignof(T) == 0;
  if (dense) return reinterpret_cast<const T*>(source);
  scratch.resize(static_cast<size_t>(image.values_per_row()));
  T* value = scratch.data();
  for (int64_t column = 0; column < image.width; ++column) {
    const std::byte* pixel = source + column * image.column_stride;
    for (int64_t channel = 0; channel < image.channels; ++channel) {
      std::memcpy(value++, pixel + channel * image.channel_stride, sizeof(T));
    }
  }
  return scratch.data();
}

}  // namespace nucleiseg::cpu
