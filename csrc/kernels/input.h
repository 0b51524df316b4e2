// The network's input: each byte times a scale, in the type that the engine takes.
//
// Half precision is IEEE 754 binary16, rounded to nearest, ties to even, by integer arithmetic, so
// that every device gives the same bits.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/portable.h"

namespace nucleiseg::kernels {

struct Half {
  uint16_t bits;
};

// For values of 0 and more; what is too large becomes infinity.
NUCLEISEG_HOST_DEVICE Half half_of(float value) {
  constexpr uint32_t kMantissaBits = 13;  // that float32 has more of
  constexpr uint32_t kLeastNormal = 113;  // float32's exponent of binary16's least normal number
  constexpr uint32_t kInfinity = 0x7c00;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const uint32_t exponent = bits >> 23;
  uint32_t shift = kMantissaBits;
  uint32_t wide = bits - ((kLeastNormal - 1) << 23);
  if (exponent < kLeastNormal) {
    const uint32_t missing = kLeastNormal - exponent;
    shift = kMantissaBits + (missing < 18 ? missing : 18);
    wide = (bits & 0x7fffffu) | 0x800000u;
  }
  const uint32_t kept = wide >> shift;
  const uint32_t half_way = 1u << (shift - 1);
  const uint32_t rest = wide & ((1u << shift) - 1);
  const uint32_t rounded = kept + (rest > half_way || (rest == half_way && (kept & 1)) ? 1 : 0);
  return {static_cast<uint16_t>(rounded < kInfinity ? rounded : kInfinity)};
}

NUCLEISEG_HOST_DEVICE void set_input(uint8_t byte, float scale, float* out) {
  *out = static_cast<float>(byte) * scale;
}

NUCLEISEG_HOST_DEVICE void set_input(uint8_t byte, float scale, Half* out) {
  *out = half_of(static_cast<float>(byte) * scale);
}

// Rounded half up, as everything is here; no byte is negative.
NUCLEISEG_HOST_DEVICE void set_input(uint8_t byte, float scale, int8_t* out) {
  const float scaled = static_cast<float>(byte) * scale + 0.5f;
  *out = static_cast<int8_t>(scaled < 127.0f ? static_cast<int32_t>(scaled) : 127);
}

NUCLEISEG_HOST_DEVICE void set_input(uint8_t byte, float, uint8_t* out) { *out = byte; }

}  // namespace nucleiseg::kernels
