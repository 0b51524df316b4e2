#include "cpu/reference.h"

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

// Labels as the documentation defines them: what each pixel is, which pixel it moves to, which core
// it thus reaches, and what becomes of those that reach none.
class Labelling {
 public:
  Labelling(const Bytes& maps, Size size, const kernels::LabelRule& rule)
      : size_(size), count_(static_cast<size_t>(size.height * size.width)) {
    for (size_t pixel = 0; pixel < count_; ++pixel) {
      nucleus_.push_back(maps[2 * pixel] >= rule.nucleus_threshold);
      distance_.push_back(maps[2 * pixel + 1]);
      core_.push_back(nucleus_[pixel] && distance_[pixel] >= rule.core_threshold);
    }
    find_cores(rule.min_core);
    point_uphill();
    leave_plateaus();
    reach_cores();
    join_coreless(rule.min_peak);
  }

  Labels numbered(int64_t min_area) const {
    std::map<int32_t, int64_t> areas;
    std::map<int32_t, int32_t> ids;
    for (const int32_t set : set_) ++areas[set];
    Labels labels = {std::vector<int32_t>(count_), 0};
    for (size_t pixel = 0; pixel < count_; ++pixel) {
      const int32_t set = set_[pixel];
      if (set == kNowhere || areas[set] < min_area) continue;
      const auto [found, is_new] = ids.try_emplace(set, labels.count + 1);
      labels.count += is_new;
      labels.ids[pixel] = found->second;
    }
    return labels;
  }

 private:
  using Pixels = std::vector<int32_t>;

  // In raster order: the four that share an edge, or all eight.
  Pixels around(int32_t pixel, bool diagonals) const {
    const auto width = static_cast<int32_t>(size_.width);
    Pixels found;
    for (int32_t row = pixel / width - 1; row <= pixel / width + 1; ++row) {
      for (int32_t column = pixel % width - 1; column <= pixel % width + 1; ++column) {
        const bool inside = row >= 0 && row < size_.height && column >= 0 && column < width;
        const bool straight = row == pixel / width || column == pixel % width;
        const int32_t other = row * width + column;
        if (inside && other != pixel && (straight || diagonals)) found.push_back(other);
      }
    }
    return found;
  }

  // Calls fn with the pixels of each set that `joined` neighbours of `member` make, in raster
  // order of their first pixels.
  template <class Member, class Joined, class Function>
  void each_set(bool diagonals, Member&& member, Joined&& joined, Function&& fn) const {
    std::vector<bool> seen(count_);
    for (int32_t start = 0; start < static_cast<int32_t>(count_); ++start) {
      if (!member(start) || seen[start]) continue;
      Pixels pixels = {start};
      seen[start] = true;
      for (size_t i = 0; i < pixels.size(); ++i) {
        for (const int32_t other : around(pixels[i], diagonals)) {
          if (!member(other) || seen[other] || !joined(pixels[i], other)) continue;
          seen[other] = true;
          pixels.push_back(other);
        }
      }
      fn(pixels);
    }
  }

  static bool always(int32_t, int32_t) { return true; }

  void find_cores(int64_t min_core) {
    core_set_.assign(count_, kNowhere);
    const auto is_core = [&](int32_t pixel) { return core_[pixel]; };
    each_set(false, is_core, always, [&](const Pixels& pixels) {
      if (static_cast<int64_t>(pixels.size()) < min_core) return;
      for (const int32_t pixel : pixels) core_set_[pixel] = pixels[0];
    });
  }

  void point_uphill() {
    target_.assign(count_, kNowhere);
    for (int32_t pixel = 0; pixel < static_cast<int32_t>(count_); ++pixel) {
      if (!nucleus_[pixel] || core_[pixel]) continue;
      int highest = distance_[pixel];
      for (const int32_t other : around(pixel, true)) {
        if (!nucleus_[other] || distance_[other] <= highest) continue;
        highest = distance_[other];
        target_[pixel] = other;
      }
    }
  }

  // A plateau's pixels all move to the first of its neighbours of the same height that climbs.
  void leave_plateaus() {
    const Pixels climbs = target_;
    const auto flat = [&](int32_t pixel) {
      return nucleus_[pixel] && !core_[pixel] && climbs[pixel] == kNowhere;
    };
    const auto level = [&](int32_t a, int32_t b) { return distance_[a] == distance_[b]; };
    each_set(true, flat, level, [&](const Pixels& pixels) {
      auto exit = static_cast<int32_t>(count_);
      for (const int32_t pixel : pixels) {
        for (const int32_t other : around(pixel, true)) {
          if (nucleus_[other] && !flat(other) && level(pixel, other)) exit = std::min(exit, other);
        }
      }
      if (exit == static_cast<int32_t>(count_)) return;
      for (const int32_t pixel : pixels) target_[pixel] = exit;
    });
  }

  void reach_cores() {
    for (int32_t start = 0; start < static_cast<int32_t>(count_); ++start) {
      int32_t pixel = start;
      while (target_[pixel] != kNowhere) pixel = target_[pixel];
      set_.push_back(core_set_[pixel]);
    }
  }

  void join_coreless(int min_peak) {
    const Pixels reached = set_;
    const auto coreless = [&](int32_t pixel) {
      return nucleus_[pixel] && reached[pixel] == kNowhere;
    };
    each_set(true, coreless, always, [&](const Pixels& pixels) {
      int32_t gate = kNowhere;
      for (const int32_t pixel : pixels) {
        for (const int32_t other : around(pixel, true)) {
          if (reached[other] != kNowhere && better_gate(other, gate)) gate = other;
        }
      }
      int peak = 0;
      for (const int32_t pixel : pixels) peak = std::max(peak, distance_[pixel]);
      const int32_t alone = peak >= min_peak ? pixels[0] : kNowhere;
      for (const int32_t pixel : pixels) set_[pixel] = gate == kNowhere ? alone : reached[gate];
    });
  }

  bool better_gate(int32_t pixel, int32_t gate) const {
    return gate == kNowhere || distance_[pixel] > distance_[gate] ||
           (distance_[pixel] == distance_[gate] && pixel < gate);
  }

  const Size size_;
  const size_t count_;
  std::vector<bool> nucleus_;
  std::vector<bool> core_;
  std::vector<int> distance_;
  Pixels core_set_;  // a core's first pixel
  Pixels target_;    // where a pixel moves to
  Pixels set_;       // a nucleus's name: the first pixel of its core, or its own
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
  return Labelling(maps, size, rule).numbered(rule.min_area);
}

}  // namespace nucleiseg::reference
