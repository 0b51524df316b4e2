#include "cpu/tiles/enlarge.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/simd/rows.h"
#include "kernels/tiles.h"
#include "threads/parallel.h"

namespace nucleiseg::cpu {
namespace {

using kernels::kMapChannels;

constexpr float kOne = 2048;  // weights have 11 bits behind the point

// Of each target pixel along an axis the two pixels that are mixed, and how.
struct Axis {
  std::vector<int32_t> first;
  std::vector<int32_t> first_weight;
  std::vector<int32_t> second_weight;

  Axis(int64_t source, int64_t target, bool stop_at_ends) {
    const double scale = 1.0 / (static_cast<double>(target) / static_cast<double>(source));
    for (int64_t i = 0; i < target; ++i) {
      const auto place = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
      auto left = static_cast<int64_t>(std::floor(place));
      float part = place - static_cast<float>(left);
      if (stop_at_ends && (left < 0 || left >= source - 1)) {
        left = std::clamp<int64_t>(left, 0, source - 1);
        part = 0;
      }
      first.push_back(static_cast<int32_t>(left));
      first_weight.push_back(static_cast<int32_t>(std::nearbyint((1.0F - part) * kOne)));
      second_weight.push_back(static_cast<int32_t>(std::nearbyint(part * kOne)));
    }
  }

  Mixes mixes() const {
    return {first.data(), first_weight.data(), second_weight.data(), first.size()};
  }
};

// Rows of the maps, mixed along each; the last two are kept.
class MixedRows {
 public:
  MixedRows(const ImageView& maps, const Axis& columns)
      : maps_(maps), columns_(columns), pairs_(static_cast<size_t>(maps.width)) {
    for (auto& row : values_) row.resize(columns.first.size() * kMapChannels);
  }

  // Rows above the first one and below the last are these. 255 * 2048 / 16 is less than 2^15.
  const int16_t* row(int64_t row) {
    row = std::clamp<int64_t>(row, 0, maps_.height - 1);
    const auto slot = static_cast<size_t>(row % 2);
    int16_t* out = values_[slot].data();
    if (rows_[slot] == row) return out;
    rows_[slot] = row;
    const uint8_t* source = row_values<uint8_t>(maps_, row, scratch_);
    rows().mix_across(source, pairs_.size(), columns_.mixes(), pairs_.data(), out);
    return out;
  }

 private:
  const ImageView& maps_;
  const Axis& columns_;
  std::vector<uint32_t> pairs_;
  std::vector<int16_t> values_[2];
  std::vector<uint8_t> scratch_;
  int64_t rows_[2] = {-1, -1};
};

}  // namespace

void enlarge_maps(const ImageView& maps, int64_t height, int64_t width, uint8_t* out, int threads) {
  const Axis down(maps.height, height, false);
  const Axis across(maps.width, width, true);
  const int64_t length = width * kMapChannels;
  parallel_for(height, std::max<int64_t>(rows_per_thread(length), 16), threads,
               [&](int64_t begin, int64_t end) {
                 MixedRows mixed(maps, across);
                 for (int64_t i = begin; i < end; ++i) {
                   const auto k = static_cast<size_t>(i);
                   const int16_t* first = mixed.row(down.first[k]);
                   const int16_t* second = mixed.row(down.first[k] + 1);
                   rows().mix_down(first, second, static_cast<int16_t>(down.first_weight[k]),
                                   static_cast<int16_t>(down.second_weight[k]),
                                   static_cast<size_t>(length), out + i * length);
                 }
               });
}

}  // namespace nucleiseg::cpu
