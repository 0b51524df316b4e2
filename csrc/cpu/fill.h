// Runs of equal values, most of them short.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace nucleiseg::cpu {

// Writes `length` values. Those of 4 to 16 are four stores that overlap: how many of them are
// needed would be a branch that cannot be foretold.
inline void fill_run(int32_t* out, int64_t length, int32_t value) {
  constexpr int64_t kStore = 4;
  if (length < kStore) {
    for (int64_t i = 0; i < length; ++i) out[i] = value;
    return;
  }
  const int32_t values[kStore] = {value, value, value, value};
  const int64_t last = length - kStore;
  for (int64_t i = 0; i < 4; ++i) {
    std::memcpy(out + std::min(i * kStore, last), values, sizeof values);
  }
  if (length > 4 * kStore) std::fill_n(out + 4 * kStore, length - 4 * kStore, value);
}

}  // namespace nucleiseg::cpu
