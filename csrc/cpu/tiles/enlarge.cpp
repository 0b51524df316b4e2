#include "cpu/tiles/enlarge.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/tiles.h"
#include "threads/parallel.h"

namespace nucleiseg::cpu {
namespace {

using kernels::kMapChannels;

constexpr float kOne = 2048;  // weights have 11 bits behind the point

// The two pixels along an axis that are mixed, and how.
struct Pair {
  int64_t first;
  int64_t second;
  int32_t first_weight;
  int32_t second_weight;
};

std::vector<Pair> pairs_of(int64_t source, int64_t target, bool stop_at_ends) {
  const double scale = 1.0 / (static_cast<double>(target) / static_cast<double>(source));
  std::vector<Pair> pairs;
  pairs.reserve(static_cast<size_t>(target));
  for (int64_t i = 0; i < target; ++i) {
    const auto place = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
    auto left = static_cast<int64_t>(std::floor(place));
    float part = place - static_cast<float>(left);
    if (stop_at_ends && (left < 0 || left >= source - 1)) {
      left = std::clamp<int64_t>(left, 0, source - 1);
      part = 0;
    }
    pairs.push_back({std::clamp<int64_t>(left, 0, source - 1),
                     std::clamp<int64_t>(left + 1, 0, source - 1),
                     static_cast<int32_t>(std::nearbyint((1.0F - part) * kOne)),
                     static_cast<int32_t>(std::nearbyint(part * kOne))});
  }
  return pairs;
}

// Rows of the maps, mixed along each; the last two are kept.
class MixedRows {
 public:
  MixedRows(const ImageView& maps, const std::vector<Pair>& columns)
      : maps_(maps), columns_(columns) {
    for (auto& row : values_) row.resize(columns.size() * kMapChannels);
  }

  // In sixteenths of the fixed point: 255 * 2048 / 16 is less than 2^15.
  const int16_t* row(int64_t row) {
    const auto slot = static_cast<size_t>(row % 2);
    int16_t* out = values_[slot].data();
    if (rows_[slot] == row) return out;
    rows_[slot] = row;
    const uint8_t* source = row_values<uint8_t>(maps_, row, scratch_);
    for (const Pair& pair : columns_) {
      const uint8_t* first = source + pair.first * kMapChannels;
      const uint8_t* second = source + pair.second * kMapChannels;
      const int32_t first_weight = pair.first_weight;
      const int32_t second_weight = pair.second_weight;
      for (int64_t channel = 0; channel < kMapChannels; ++channel) {
        const int32_t sum = first[channel] * first_weight + second[channel] * second_weight;
        *out++ = static_cast<int16_t>(sum >> 4);
      }
    }
    return values_[slot].data();
  }

 private:
  const ImageView& maps_;
  const std::vector<Pair>& columns_;
  std::vector<int16_t> values_[2];
  std::vector<uint8_t> scratch_;
  int64_t rows_[2] = {-1, -1};
};

}  // namespace

void enlarge_maps(const ImageView& maps, int64_t height, int64_t width, uint8_t* out, int threads) {
  const std::vector<Pair> rows = pairs_of(maps.height, height, false);
  const std::vector<Pair> columns = pairs_of(maps.width, width, true);
  const int64_t length = width * kMapChannels;
  parallel_for(height, std::max<int64_t>(rows_per_thread(length), 16), threads,
               [&](int64_t begin, int64_t end) {
                 MixedRows mixed(maps, columns);
                 for (int64_t i = begin; i < end; ++i) {
                   const Pair& pair = rows[static_cast<size_t>(i)];
                   const int16_t* first = mixed.row(pair.first);
                   const int16_t* second = mixed.row(pair.second);
                   const auto first_weight = static_cast<int16_t>(pair.first_weight);
                   const auto second_weight = static_cast<int16_t>(pair.second_weight);
                   uint8_t* target = out + i * length;
                   for (int64_t k = 0; k < length; ++k) {
                     const auto upper = static_cast<int16_t>((first_weight * first[k]) >> 16);
                     const auto lower = static_cast<int16_t>((second_weight * second[k]) >> 16);
                     target[k] = static_cast<uint8_t>((upper + lower + 2) >> 2);
                   }
                 }
               });
}

}  // namespace nucleiseg::cpu
