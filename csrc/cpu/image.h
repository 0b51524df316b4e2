// Views of arrays that others own, with any strides (in bytes, negative ones too).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace nucleiseg::cpu {

enum class ValueType { kUint8, kUint16, kInt16, kFloat32, kFloat64 };

struct ImageView {
  const std::byte* data;
  ValueType type;
  int64_t height;
  int64_t width;
  int64_t channels;
  std::ptrdiff_t row_stride;
  std::ptrdiff_t column_stride;
  std::ptrdiff_t channel_stride;

  int64_t values_per_row() const { return width * channels; }
};

// Calls fn with a zero of the image's value type.
template <class Function>
auto with_value_type(ValueType type, Function&& fn) {
  switch (type) {
    case ValueType::kUint8:
      return fn(uint8_t{});
    case ValueType::kUint16:
      return fn(uint16_t{});
    case ValueType::kInt16:
      return fn(int16_t{});
    case ValueType::kFloat32:
      return fn(float{});
    default:
      return fn(double{});
  }
}

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
