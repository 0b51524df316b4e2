#include "cpu/label/label_bands.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "cpu/label/label_join.h"
#include "cpu/label/label_strip.h"
#include "threads/parallel.h"

namespace nucleiseg::cpu {
namespace {

constexpr int64_t kStripPixels = 1 << 19;
constexpr int64_t kStripRows = 128;  // a strip's outer rows stay in memory

// Keeps the passes of a greatest spanning forest, the only ones that can join basins: beside
// another pass there is a way between its ends of higher ones alone. If all of these joined basins,
// it has nothing left to join. If one did not, what lies at either end of the way has a peak that
// stands out above that one, and so above a lower one.
void keep_spanning_passes(Strip& strip) {
  std::sort(strip.passes.begin(), strip.passes.end(),
            [](const Pass& a, const Pass& b) { return a.key > b.key; });
  std::vector<int32_t> parents(strip.basins.size());
  std::iota(parents.begin(), parents.end(), 0);
  const auto find = [&](int32_t basin) {
    const auto parent = [&](int32_t i) -> int32_t& { return parents[static_cast<size_t>(i)]; };
    while (parent(basin) != basin) basin = parent(basin) = parent(parent(basin));
    return basin;
  };
  const auto end = std::remove_if(strip.passes.begin(), strip.passes.end(), [&](const Pass& pass) {
    const int32_t from = find(pass.from);
    const int32_t to = find(pass.to);
    parents[static_cast<size_t>(from)] = to;
    return from == to;
  });
  strip.passes.erase(end, strip.passes.end());
  strip.passes.shrink_to_fit();
}

// Of a strip whose labels are painted: what the strips above and below it see.
void keep_outer_rows(Strip& strip) {
  const auto begin = strip.pieces.begin();
  if (strip.first_row_end < strip.last_row_begin) {
    strip.pieces.erase(begin + strip.first_row_end, begin + strip.last_row_begin);
    strip.last_row_begin = strip.first_row_end;
  }
  strip.pieces.shrink_to_fit();
  strip.basins.shrink_to_fit();
}

}  // namespace

LabelBands::LabelBands(int64_t width, const kernels::LabelRule& rule, std::vector<int64_t> rows,
                       const std::vector<int64_t>& columns, int32_t* labels)
    : width_(width),
      rule_(rule),
      rows_(std::move(rows)),
      kept_width_(static_cast<int64_t>(columns.size())),
      kept_from_(static_cast<size_t>(width) + 1),
      labels_(labels) {
  for (int64_t column = 0; column <= width; ++column) {
    const auto found = std::lower_bound(columns.begin(), columns.end(), column);
    kept_from_[static_cast<size_t>(column)] = static_cast<int32_t>(found - columns.begin());
  }
}

void LabelBands::add(const ImageView& maps, int64_t end, int threads) {
  const int64_t rows = std::max(kStripRows, kStripPixels / width_);
  const size_t first = strips_.size();
  while (next_ < end) {
    // No strip is thin.
    const int64_t strip_end = end - next_ < 2 * rows ? end : next_ + rows;
    strips_.emplace_back();
    strips_.back().row_begin = next_;
    strips_.back().row_end = next_ = strip_end;
  }
  scan_strips(maps, kernels::with_prominence(rule_, rule_.merge.prominence), strips_, first,
              threads);
  std::vector<int32_t> before;
  for (size_t i = first; i < strips_.size(); ++i) {
    before.push_back(basins_);
    basins_ += static_cast<int32_t>(strips_[i].basins.size());
  }
  parallel_for(static_cast<int64_t>(before.size()), 1, threads, [&](int64_t from, int64_t to) {
    for (auto i = static_cast<size_t>(from); i < static_cast<size_t>(to); ++i) {
      paint(strips_[first + i], before[i]);
      keep_outer_rows(strips_[first + i]);
      keep_spanning_passes(strips_[first + i]);
    }
  });
}

// Basins are numbered through, from 1 on, until finish() knows the nuclei.
void LabelBands::paint(const Strip& strip, int32_t basins_before) {
  auto row = std::lower_bound(rows_.begin(), rows_.end(), strip.row_begin);
  for (; row != rows_.end() && *row < strip.row_end; ++row) {
    const auto first = static_cast<int32_t>(*row * width_);
    int32_t* labels = labels_ + (row - rows_.begin()) * kept_width_;
    auto piece = std::lower_bound(strip.pieces.begin(), strip.pieces.end(), first,
                                  [](const Piece& a, int32_t pixel) { return a.start < pixel; });
    for (; piece != strip.pieces.end() && piece->start - first < width_; ++piece) {
      const int32_t begin = kept_from_[static_cast<size_t>(piece->start - first)];
      const int32_t end = kept_from_[static_cast<size_t>(piece->end() - first)];
      std::fill(labels + begin, labels + end, basins_before + piece->basin + 1);
    }
  }
}

void LabelBands::finish(int threads) {
  const Numbers numbers = join_basins(strips_, width_, rule_);
  const auto kept_rows = static_cast<int64_t>(rows_.size());
  parallel_for(kept_rows, rows_per_thread(kept_width_), threads, [&](int64_t begin, int64_t end) {
    for (int32_t* label = labels_ + begin * kept_width_; label != labels_ + end * kept_width_;
         ++label) {
      if (*label != 0) *label = numbers.ids[static_cast<size_t>(*label) - 1];
    }
  });
}

}  // namespace nucleiseg::cpu
