// Runs of equal values, most of them short.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace nucleiseg::cpu {

constexpr int64_t kFillStore = 4;
constexpr int64_t kFillSlack = 32;

inline void store_four(int32_t* out, int32_t value) {
  const int32_t values[kFillStore] = {value, value, value, value};
  std::memcpy(out, values, sizeof values);
}

// Writes `length` values, and as many as kFillSlack - 1 behind them: how many are needed would be a
// branch that cannot be foretold.
inline void fill_with_slack(int32_t* out, int64_t length, int32_t value) {
  for (int64_t i = 0; i < kFillSlack; i += kFillStore) store_four(out + i, value);
  if (length > kFillSlack) std::fill_n(out + kFillSlack, length - kFillSlack, value);
}

// Writes `length` values, 1 or more, and nothing else. Stores overlap instead.
inline void fill_exactly(int32_t* out, int64_t length, int32_t value) {
  if (length < kFillStore) {
    out[0] = out[length / 2] = out[length - 1] = value;
    return;
  }
  const int64_t last = length - kFillStore;
  for (int64_t i = 0; i < kFillSlack; i += kFillStore) {
    const int64_t beyond = last - i;
    store_four(out + i + (beyond & (beyond >> 63)), value);  // at i, or at last if that is before
  }
  if (length > kFillSlack) std::fill_n(out + kFillSlack, length - kFillSlack, value);
}

}  // namespace nucleiseg::cpu
