// A view of an image that others own, with any strides (in bytes, negative ones too).
#pragma once

#include <cstddef>
#include <cstdint>

namespace nucleiseg {

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

}  // namespace nucleiseg
