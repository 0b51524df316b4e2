#include "reference.h"

#include <map>
#include <utility>

namespace nucleiseg::reference {
namespace {

constexpr int32_t kNowhere = -1;

// A pixel's place in a row of an endless image that is mirrored at its first and last pixel.
int64_t bounce(int64_t index, int64_t size) {
  if (size == 1) return 0;
  while (index < 0 || index >= size) index = index < 0 ? -index : 2 * (size - 1) - index;
  return index;
}

// Labels as the documentation defines them: how high each pixel is, which peak it reaches, which
// basins become one as the passes between them are taken from the highest down, and which of those
// that are left merge.
class Labelling {
 public:
  Labelling(const Bytes& maps, Size size, const kernels::LabelRule& rule)
      : size_(size), count_(static_cast<size_t>(size.height * size.width)), rule_(rule) {
    for (size_t pixel = 0; pixel < count_; ++pixel) {
      probability_.push_back(maps[2 * pixel]);
      nucleus_.push_back(maps[2 * pixel] >= rule.nucleus_threshold);
    }
    find_heights(maps);
    reach_peaks();
    join_basins();
    if (rule.merge.prominence > 0) merge_basins();
  }

  Labels numbered() const {
    std::map<int32_t, int64_t> areas;
    std::map<int32_t, int64_t> sums;
    std::map<int32_t, int32_t> ids;
    for (size_t pixel = 0; pixel < count_; ++pixel) {
      ++areas[set_[pixel]];
      sums[set_[pixel]] += probability_[pixel];
    }
    Labels labels = {std::vector<int32_t>(count_), 0};
    for (size_t pixel = 0; pixel < count_; ++pixel) {
      const int32_t set = set_[pixel];
      if (set == kNowhere || areas[set] < rule_.min_area) continue;
      if (height_[static_cast<size_t>(set)] < 16 * rule_.min_peak) continue;
      if (sums[set] < rule_.min_probability * areas[set]) continue;
      const auto [found, is_new] = ids.try_emplace(set, labels.count + 1);
      labels.count += is_new;
      labels.ids[pixel] = found->second;
    }
    return labels;
  }

 private:
  // From a pixel to a later one in another basin.
  struct Pass {
    int height;
    int32_t from;
    int32_t to;
  };

  // A pixel of the image that goes on beyond its edges.
  size_t nearest(int64_t row, int64_t column) const {
    row = std::clamp<int64_t>(row, 0, size_.height - 1);
    column = std::clamp<int64_t>(column, 0, size_.width - 1);
    return static_cast<size_t>(row * size_.width + column);
  }

  static int filtered(int a, int b, int c, int d, int e) { return a + 4 * b + 6 * c + 4 * d + e; }
  static int rounded(int sum) { return (sum + 8) / 16; }

  void find_heights(const Bytes& maps) {
    // Across: both filters, rounded once.
    std::vector<int> across(count_);
    const auto once = [&](int64_t row, int64_t column) {
      const auto at = [&](int64_t i) { return maps[2 * nearest(row, column + i) + 1]; };
      return filtered(at(-2), at(-1), at(0), at(1), at(2));
    };
    // Down: each rounded.
    const auto down = [&](int64_t row, int64_t column) {
      const auto at = [&](int64_t i) { return across[nearest(row + i, column)]; };
      return rounded(filtered(at(-2), at(-1), at(0), at(1), at(2)));
    };
    for (int64_t row = 0; row < size_.height; ++row) {
      for (int64_t i = 0; i < size_.width; ++i) {
        across[nearest(row, i)] = rounded(filtered(once(row, i - 2), once(row, i - 1), once(row, i),
                                                   once(row, i + 1), once(row, i + 2)));
      }
    }
    height_.resize(count_);
    for (int64_t row = 0; row < size_.height; ++row) {
      for (int64_t i = 0; i < size_.width; ++i) {
        height_[nearest(row, i)] = rounded(filtered(
            down(row - 2, i), down(row - 1, i), down(row, i), down(row + 1, i), down(row + 2, i)));
      }
    }
  }

  // In raster order.
  std::vector<int32_t> around(int32_t pixel) const {
    const auto width = static_cast<int32_t>(size_.width);
    std::vector<int32_t> found;
    for (int32_t row = pixel / width - 1; row <= pixel / width + 1; ++row) {
      for (int32_t column = pixel % width - 1; column <= pixel % width + 1; ++column) {
        const bool inside = row >= 0 && row < size_.height && column >= 0 && column < width;
        const int32_t other = row * width + column;
        if (inside && other != pixel && nucleus_[other]) found.push_back(other);
      }
    }
    return found;
  }

  // Of equals the first in raster order.
  bool is_higher(int32_t a, int32_t b) const {
    return height_[a] > height_[b] || (height_[a] == height_[b] && a < b);
  }

  void reach_peaks() {
    std::vector<int32_t> target(count_, kNowhere);
    for (int32_t pixel = 0; pixel < static_cast<int32_t>(count_); ++pixel) {
      if (!nucleus_[pixel]) continue;
      target[pixel] = pixel;
      for (const int32_t other : around(pixel)) {
        if (is_higher(other, target[pixel])) target[pixel] = other;
      }
    }
    for (int32_t pixel : target) {
      while (pixel != kNowhere && target[pixel] != pixel) pixel = target[pixel];
      set_.push_back(pixel);
    }
  }

  std::vector<Pass> passes() const {
    std::vector<Pass> passes;
    for (int32_t pixel = 0; pixel < static_cast<int32_t>(count_); ++pixel) {
      if (!nucleus_[pixel]) continue;
      for (const int32_t other : around(pixel)) {
        if (other < pixel || set_[other] == set_[pixel]) continue;
        passes.push_back({std::min(height_[pixel], height_[other]), pixel, other});
      }
    }
    std::stable_sort(passes.begin(), passes.end(),
                     [](const Pass& a, const Pass& b) { return a.height > b.height; });
    return passes;
  }

  void join_basins() {
    for (const Pass& pass : passes()) {
      int32_t high = set_[pass.from];
      int32_t low = set_[pass.to];
      if (high == low) continue;
      if (is_higher(low, high)) std::swap(low, high);
      const bool is_marker = height_[low] >= 16 * rule_.marker_threshold;
      if (is_marker && height_[low] - pass.height >= 16 * rule_.prominence) continue;
      std::replace(set_.begin(), set_.end(), low, high);
    }
  }

  // Each basin asks once, at its highest pass, unless it stands out too far.
  void merge_basins() {
    std::map<int32_t, kernels::Side> sides;
    for (size_t pixel = 0; pixel < count_; ++pixel) {
      if (set_[pixel] == kNowhere) continue;
      kernels::Moments& sums = sides[set_[pixel]].sums;
      const uint64_t row = pixel / static_cast<uint64_t>(size_.width);
      const uint64_t column = pixel % static_cast<uint64_t>(size_.width);
      sums.area += 1;
      sums.row += row;
      sums.column += column;
      sums.row_row += row * row;
      sums.row_column += row * column;
      sums.column_column += column * column;
    }
    for (auto& [set, side] : sides) side.peak = height_[static_cast<size_t>(set)];
    std::map<int32_t, Pass> highest;
    const std::vector<Pass> all = passes();
    for (const Pass& pass : all) {
      highest.try_emplace(set_[pass.from], pass);
      highest.try_emplace(set_[pass.to], pass);
    }
    const std::vector<int32_t> before = set_;
    for (const auto& [set, pass] : highest) {
      const kernels::Side& from = sides[before[pass.from]];
      const kernels::Side& to = sides[before[pass.to]];
      if (sides[set].peak - pass.height >= 16 * rule_.merge.prominence) continue;
      if (!kernels::are_one(from, to, pass.height, rule_.merge)) continue;
      int32_t high = set_[pass.from];
      int32_t low = set_[pass.to];
      if (is_higher(low, high)) std::swap(low, high);
      std::replace(set_.begin(), set_.end(), low, high);
    }
  }

  const Size size_;
  const size_t count_;
  const kernels::LabelRule rule_;
  Bytes probability_;
  std::vector<bool> nucleus_;
  std::vector<int> height_;   // in sixteenths of a distance
  std::vector<int32_t> set_;  // a nucleus's name: its peak
};

}  // namespace

Bytes mask(const Bytes& maps, uint8_t threshold) {
  Bytes found;
  for (size_t i = 0; i < maps.size(); i += 2) found.push_back(maps[i] >= threshold ? 1 : 0);
  return found;
}

Bytes gather(const Bytes& image, Size size, kernels::Point origin, Size tile) {
  Bytes found;
  for (int64_t row = 0; row < tile.height; ++row) {
    for (int64_t column = 0; column < tile.width; ++column) {
      const int64_t pixel = bounce(origin.row + row, size.height) * size.width +
                            bounce(origin.column + column, size.width);
      for (int64_t channel = 0; channel < 3; ++channel) {
        found.push_back(image[static_cast<size_t>(3 * pixel + channel)]);
      }
    }
  }
  return found;
}

void assemble(const Bytes& cells, int64_t tile, kernels::Point origin,
              const kernels::Rectangle& core, Size size, Bytes& maps) {
  for (int64_t row = core.row_begin; row < core.row_end; ++row) {
    for (int64_t column = core.column_begin; column < core.column_end; ++column) {
      const int64_t y = row - origin.row;
      const int64_t x = column - origin.column;
      const int64_t cell = y / 2 * (tile / 2) + x / 2;
      for (int64_t map = 0; map < 2; ++map) {
        maps[static_cast<size_t>(2 * (row * size.width + column) + map)] =
            cells[static_cast<size_t>(8 * cell + 4 * (y % 2) + 2 * (x % 2) + map)];
      }
    }
  }
}

Labels label(const Bytes& maps, Size size, const kernels::LabelRule& rule) {
  return Labelling(maps, size, rule).numbered();
}

}  // namespace nucleiseg::reference
