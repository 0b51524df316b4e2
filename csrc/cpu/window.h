// A sliding window over the maps' rows: the heights of four, and what the pixels of three of them
// are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cpu/image.h"
#include "cpu/simd/rows.h"
#include "kernels/label.h"

namespace nucleiseg::cpu {

class Window {
 public:
  Window(const ImageView& maps, uint8_t nucleus_threshold, uint8_t core_threshold)
      : maps_(maps),
        table_(rows()),
        nucleus_threshold_(nucleus_threshold),
        core_height_(static_cast<int16_t>(core_threshold * kernels::kHeightUnit)),
        pitch_(static_cast<size_t>(maps.width) + kMargin + kSkip),
        heights_(kSlots * pitch_, kernels::kBackgroundHeight),
        codes_(kSlots * pitch_, kernels::kBackground) {}

  // Makes codes(first - 1) and codes(first) ready, and all that they need.
  void start(int64_t first) {
    for (int64_t row = first - 2; row <= first; ++row) load_heights(row);
    load_codes(first - 1);
    advance(first - 1);
  }

  // Makes codes(row + 1) ready, where codes(row) is.
  void advance(int64_t row) {
    load_heights(row + 2);
    load_codes(row + 1);
  }

  // Rows from one above to one below the current one; column -1 and `width` are background.
  const int16_t* heights(int64_t row) const { return heights_.data() + slot(row); }
  const uint8_t* codes(int64_t row) const { return codes_.data() + slot(row); }

  // The first column from `column` on that is no background, or the width.
  int64_t skip_background(int64_t row, int64_t column) const {
    const uint8_t* code = codes(row);
    for (; column < maps_.width; column += kSkip) {
      uint64_t block[kSkip / sizeof(uint64_t)];
      std::memcpy(block, code + column, sizeof block);
      if ((block[0] | block[1] | block[2] | block[3]) != 0) break;
    }
    while (column < maps_.width && code[column] == kernels::kBackground) ++column;
    return std::min(column, maps_.width);
  }

 private:
  static constexpr int64_t kSlots = 4;
  static constexpr size_t kMargin = 1;
  static constexpr int64_t kSkip = 32;

  size_t slot(int64_t row) const {
    return static_cast<size_t>(row & (kSlots - 1)) * pitch_ + kMargin;
  }

  bool inside(int64_t row) const { return row >= 0 && row < maps_.height; }

  void load_heights(int64_t row) {
    int16_t* out = heights_.data() + slot(row);
    const auto count = static_cast<size_t>(maps_.width);
    if (inside(row)) {
      table_.heights(row_values<uint8_t>(maps_, row, scratch_), count, nucleus_threshold_, out);
    } else {
      std::fill_n(out, count, kernels::kBackgroundHeight);
    }
  }

  void load_codes(int64_t row) {
    uint8_t* out = codes_.data() + slot(row);
    const auto count = static_cast<size_t>(maps_.width);
    if (inside(row)) {
      table_.codes(heights(row - 1), heights(row), heights(row + 1), count, core_height_, out);
    } else {
      std::fill_n(out, count, kernels::kBackground);
    }
  }

  const ImageView& maps_;
  const Rows& table_;
  const uint8_t nucleus_threshold_;
  const int16_t core_height_;
  const size_t pitch_;
  std::vector<int16_t> heights_;
  std::vector<uint8_t> codes_;
  std::vector<uint8_t> scratch_;
};

}  // namespace nucleiseg::cpu
