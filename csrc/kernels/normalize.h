// Intensities to bytes: byte = floor((value - low) * 255 / (high - low) + 1/2), kept in 0..255; 0 for
// values above a ceiling.
//
// Every step is one single-precision operation (no fused multiply-add), so every device gives the
// same bits. The order keys rank numbers as unsigned integers, which lets a histogram find an order
// statistic exactly; for floats this is the radix-sort key of Herf, "Radix Tricks" (2001).
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/portable.h"

namespace nucleiseg::kernels {

constexpr float kByteMax = 255.0f;

struct Affine {
  float low;
  float factor;
  float ceiling;  // what lies above is no intensity and becomes 0
};

// A range without extent has nothing in it: factor 0 makes every byte 0.
NUCLEISEG_HOST_DEVICE Affine affine(float low, float high, float ceiling) {
  return {low, high > low ? kByteMax / (high - low) : 0.0f, ceiling};
}

NUCLEISEG_HOST_DEVICE uint8_t normalize(float value, const Affine& map) {
  float scaled = (value - map.low) * map.factor;
  scaled = scaled > 0.0f ? scaled : 0.0f;  // NaN becomes 0 here
  scaled = value > map.ceiling ? 0.0f : scaled;
  scaled = scaled < kByteMax ? scaled : kByteMax;
  return static_cast<uint8_t>(static_cast<int32_t>(scaled + 0.5f));
}

// The index of an order statistic among `count` sorted values, as NumPy's method="lower": that
// below the exact position, in double.
NUCLEISEG_HOST_DEVICE uint64_t rank_of(double percent, uint64_t count) {
  return static_cast<uint64_t>(static_cast<double>(count - 1) * (percent / 100.0));
}

NUCLEISEG_HOST_DEVICE uint32_t order_key(uint8_t value) { return value; }
NUCLEISEG_HOST_DEVICE uint32_t order_key(uint16_t value) { return value; }
NUCLEISEG_HOST_DEVICE uint32_t order_key(int16_t value) {
  return static_cast<uint16_t>(value) ^ 0x8000u;
}

NUCLEISEG_HOST_DEVICE uint32_t order_key(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const uint32_t negative = 0u - (bits >> 31);
  return bits ^ (negative | 0x80000000u);
}

NUCLEISEG_HOST_DEVICE float value_of_float_key(uint32_t key) {
  const uint32_t positive = 0u - (key >> 31);
  const uint32_t bits = key ^ (~positive | 0x80000000u);
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

NUCLEISEG_HOST_DEVICE bool is_finite(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (bits & 0x7f800000u) != 0x7f800000u;
}

NUCLEISEG_HOST_DEVICE bool is_finite(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (bits & 0x7ff0000000000000u) != 0x7ff0000000000000u;
}

}  // namespace nucleiseg::kernels
