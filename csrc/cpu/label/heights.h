// The heights of a strip's rows and of one more above and below: see csrc/kernels/label.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/image.h"
#include "cpu/simd/rows.h"
#include "kernels/label.h"

namespace nucleiseg::cpu {

class Heights {
 public:
  // Margins of rows, for what is read beside them.
  static constexpr int64_t kMargin = 64;

  Heights(const ImageView& maps, uint8_t threshold)
      : maps_(maps),
        table_(rows()),
        threshold_(threshold),
        pitch_(maps.width + 2 * kMargin),
        distances_(static_cast<size_t>(maps.width) + 2 * kernels::kSmoothed),
        sums_(static_cast<size_t>(maps.width) + kernels::kSmoothed),
        across_(static_cast<size_t>(kSlots * maps.width)),
        down_(static_cast<size_t>(kSlots * maps.width)) {}

  // Those of rows begin - 1 to end.
  void find(int64_t begin, int64_t end) {
    first_ = begin - 1;
    const auto size = static_cast<size_t>((end - begin + 2) * pitch_);
    // Margins are background from the start, and stay so.
    if (heights_.size() < size) heights_.resize(size, kernels::kBackgroundHeight);
    if (begin == 0) clear(-1);
    if (end == maps_.height) clear(end);
    const int64_t top = std::max<int64_t>(first_, 0);
    next_across_ = std::max<int64_t>(top - kernels::kSmoothed, 0);
    next_down_ = top - kReach;
    for (int64_t row = top; row <= std::min(end, maps_.height - 1); ++row) find_row(row);
  }

  // Column -1 and the width are background.
  const int16_t* row(int64_t row) const { return heights_.data() + offset(row); }

 private:
  static constexpr int64_t kReach = 2;  // of one filter
  static constexpr int64_t kSlots = 8;  // of rows that are kept, of which filters see five

  int64_t offset(int64_t row) const { return (row - first_) * pitch_ + kMargin; }

  void clear(int64_t row) {
    std::fill_n(heights_.data() + offset(row), maps_.width, kernels::kBackgroundHeight);
  }

  uint16_t* slot(std::vector<uint16_t>& kept, int64_t row) const {
    return kept.data() + (row & (kSlots - 1)) * maps_.width;
  }

  void find_row(int64_t row) {
    const auto count = static_cast<size_t>(maps_.width);
    for (; next_down_ <= row + kReach; ++next_down_) smooth_down(next_down_);
    const uint16_t* seen[2 * kReach + 1];
    for (int64_t i = -kReach; i <= kReach; ++i) seen[i + kReach] = slot(down_, row + i);
    table_.heights(seen, row_values<uint8_t>(maps_, row, scratch_), count, threshold_,
                   heights_.data() + offset(row));
  }

  // The row may be beyond the image, which goes on as its edges are.
  void smooth_down(int64_t row) {
    const auto inside = [&](int64_t any) { return std::clamp<int64_t>(any, 0, maps_.height - 1); };
    for (; next_across_ <= inside(row + kReach); ++next_across_) smooth_across(next_across_);
    const uint16_t* seen[2 * kReach + 1];
    for (int64_t i = -kReach; i <= kReach; ++i) {
      seen[i + kReach] = slot(across_, inside(row + i));
    }
    table_.smooth_down(seen, static_cast<size_t>(maps_.width), slot(down_, row));
  }

  void smooth_across(int64_t row) {
    table_.smooth_across(row_values<uint8_t>(maps_, row, scratch_),
                         static_cast<size_t>(maps_.width), distances_.data(), sums_.data(),
                         slot(across_, row));
  }

  const ImageView& maps_;
  const Rows& table_;
  const uint8_t threshold_;
  const int64_t pitch_;
  int64_t first_ = 0;
  int64_t next_across_ = 0;
  int64_t next_down_ = 0;
  std::vector<int16_t> heights_;
  std::vector<uint8_t> scratch_;
  std::vector<uint16_t> distances_;
  std::vector<uint16_t> sums_;
  std::vector<uint16_t> across_;
  std::vector<uint16_t> down_;
};

}  // namespace nucleiseg::cpu
