#include "cpu/label/label_join.h"

#include <algorithm>
#include <numeric>

#include "cpu/label/label_pass.h"

namespace nucleiseg::cpu {
namespace {

// Basins of all strips, numbered through, as a forest of joined ones.
class Joining {
 public:
  Joining(const std::vector<Strip>& strips, int64_t width, const kernels::LabelRule& rule,
          NucleusTable* table)
      : strips_(strips), width_(static_cast<int32_t>(width)), rule_(rule), table_(table) {
    table_rule_ = kernels::with_prominence(rule, table ? table->prominence : 0);
    kept_rule_ = kernels::with_prominence(table_rule_, rule.merge.prominence);
    for (const Strip& strip : strips) {
      first_.push_back(areas_.size());
      for (const Basin& basin : strip.basins) {
        parents_.push_back(static_cast<int32_t>(parents_.size()));
        areas_.push_back(basin.area);
        peaks_.push_back(basin.peak);
        probabilities_.push_back(basin.probability);
      }
    }
  }

  Numbers run() {
    follow_outlets();
    for (size_t i = 0; i < strips_.size(); ++i) add_passes(i, strips_[i].passes, i);
    for (size_t i = 1; i < strips_.size(); ++i) add_passes(i - 1, passes_of_seam(i), i);
    std::sort(passes_.begin(), passes_.end(),
              [](const Pass& a, const Pass& b) { return a.key > b.key; });
    for (const Pass& pass : passes_) take(pass);
    if (rule_.merge.prominence > 0) merge();
    if (table_ != nullptr) tabulate();
    return numbers();
  }

 private:
  int32_t number(size_t strip, int32_t basin) const {
    return static_cast<int32_t>(first_[strip]) + basin;
  }

  // Shortens the way it goes.
  int32_t find(int32_t basin) {
    int32_t next = parents_[static_cast<size_t>(basin)];
    while (next != basin) {
      const int32_t after = parents_[static_cast<size_t>(next)];
      parents_[static_cast<size_t>(basin)] = after;
      basin = next;
      next = after;
    }
    return basin;
  }

  void unite(int32_t into, int32_t basin) {
    parents_[static_cast<size_t>(basin)] = into;
    areas_[static_cast<size_t>(into)] += areas_[static_cast<size_t>(basin)];
    probabilities_[static_cast<size_t>(into)] += probabilities_[static_cast<size_t>(basin)];
    peaks_[static_cast<size_t>(into)] =
        std::max(peaks_[static_cast<size_t>(into)], peaks_[static_cast<size_t>(basin)]);
  }

  // The basin of a pixel in the strip's first or last row.
  int32_t basin_at(size_t strip, bool in_first_row, int32_t pixel) const {
    const Strip& there = strips_[strip];
    const auto begin = there.pieces.begin() + (in_first_row ? 0 : there.last_row_begin);
    const auto end = in_first_row ? there.pieces.begin() + there.first_row_end : there.pieces.end();
    const auto after = std::upper_bound(
        begin, end, pixel, [](int32_t value, const Piece& piece) { return value < piece.start; });
    return number(strip, after[-1].basin);
  }

  void follow_outlets() {
    for (size_t i = 0; i < strips_.size(); ++i) {
      for (size_t k = 0; k < strips_[i].basins.size(); ++k) {
        const int32_t outlet = strips_[i].basins[k].outlet;
        if (outlet == kNowhere) continue;
        const bool is_below = outlet >= strips_[i].row_end * width_;
        // No way leads back to where it came from, so this is no union of equals.
        const int32_t next = find(basin_at(is_below ? i + 1 : i - 1, is_below, outlet));
        unite(next, number(i, static_cast<int32_t>(k)));
      }
    }
  }

  std::vector<Pass> passes_of_seam(size_t below) const {
    const Strip& upper = strips_[below - 1];
    const Strip& lower = strips_[below];
    const auto first = static_cast<int32_t>((upper.row_end - 1) * width_);
    std::vector<Pass> found;
    each_below(upper.pieces.data() + upper.last_row_begin,
               upper.pieces.data() + upper.pieces.size(), lower.pieces.data(),
               lower.pieces.data() + lower.first_row_end, width_,
               [&](const Piece& from, const Piece& to) {
                 const uint64_t key = pass_below(from, to, upper.last_heights.data(),
                                                 lower.first_heights.data(), first, width_);
                 found.push_back({key, from.basin, to.basin});
               });
    return found;
  }

  // Those that may join what is joined already.
  void add_passes(size_t from_strip, const std::vector<Pass>& passes, size_t to_strip) {
    for (const Pass& pass : passes) {
      const int32_t from = find(number(from_strip, pass.from));
      const int32_t to = find(number(to_strip, pass.to));
      if (from != to && leads_on(from, to, pass.key, kept_rule_)) {
        passes_.push_back({pass.key, from, to});
      }
    }
  }

  bool leads_on(int32_t from, int32_t to, uint64_t key, const kernels::LabelRule& rule) const {
    const int32_t peak =
        std::min(peaks_[static_cast<size_t>(from)], peaks_[static_cast<size_t>(to)]);
    return kernels::joins(peak, kernels::pass_height(key), rule);
  }

  void take(const Pass& pass) {
    const int32_t from = find(pass.from);
    const int32_t to = find(pass.to);
    if (from != to && leads_on(from, to, pass.key, rule_)) unite(from, to);
  }

  // Every basin asks once, at its highest pass, all of them before any merges.
  void merge() {
    const std::vector<kernels::Moments> moments = moments_of_roots();
    const kernels::LabelRule asking = kernels::with_prominence(rule_, rule_.merge.prominence);
    std::vector<bool> has_asked(parents_.size());
    std::vector<Pass> merging;
    const auto side = [&](int32_t basin) {
      const auto i = static_cast<size_t>(basin);
      return kernels::Side{peaks_[i], moments[i]};
    };
    for (const Pass& pass : passes_) {
      const int32_t from = find(pass.from);
      const int32_t to = find(pass.to);
      if (from == to) continue;
      const int32_t height = kernels::pass_height(pass.key);
      bool asks = false;
      for (const int32_t basin : {from, to}) {
        const auto i = static_cast<size_t>(basin);
        asks |= !has_asked[i] && kernels::joins(peaks_[i], height, asking);
        has_asked[i] = true;
      }
      if (asks && kernels::are_one(side(from), side(to), height, rule_.merge)) {
        merging.push_back(pass);
      }
    }
    for (const Pass& pass : merging) {
      const int32_t from = find(pass.from);
      const int32_t to = find(pass.to);
      if (from != to) unite(from, to);
    }
  }

  std::vector<kernels::Moments> moments_of_roots() {
    std::vector<kernels::Moments> moments(parents_.size());
    for (size_t i = 0; i < strips_.size(); ++i) {
      for (size_t k = 0; k < strips_[i].moments.size(); ++k) {
        auto& sums = moments[static_cast<size_t>(find(number(i, static_cast<int32_t>(k))))];
        sums = kernels::sum_of(sums, strips_[i].moments[k]);
      }
    }
    return moments;
  }

  void tabulate() {
    std::vector<Nucleus>& nuclei = table_->nuclei;
    std::vector<int32_t> index(parents_.size(), kNowhere);
    for (size_t i = 0; i < parents_.size(); ++i) {
      const auto root = static_cast<size_t>(find(static_cast<int32_t>(i)));
      if (index[root] != kNowhere) continue;
      index[root] = static_cast<int32_t>(nuclei.size());
      nuclei.push_back({areas_[root], peaks_[root],
                        table_rule_.prominence * kernels::kUnitsPerDistance, index[root]});
    }
    std::vector<int32_t> higher(nuclei.size());  // the highest nucleus that each has joined
    std::iota(higher.begin(), higher.end(), 0);
    for (const Pass& pass : passes_) {
      join_in_table(pass.key, index[static_cast<size_t>(find(pass.from))],
                    index[static_cast<size_t>(find(pass.to))], higher);
    }
  }

  void join_in_table(uint64_t key, int32_t from, int32_t to, std::vector<int32_t>& higher) {
    const auto top = [&](int32_t i) {
      while (higher[static_cast<size_t>(i)] != i) i = higher[static_cast<size_t>(i)];
      return i;
    };
    int32_t low = top(from);
    int32_t high = top(to);
    if (low == high) return;
    const auto nucleus = [&](int32_t i) -> Nucleus& {
      return table_->nuclei[static_cast<size_t>(i)];
    };
    const int32_t more = nucleus(low).peak - nucleus(high).peak;
    if (more > 0 || (more == 0 && low < high)) {  // of equals the first counts as the higher
      std::swap(low, high);
      std::swap(from, to);
    }
    const int32_t height = kernels::pass_height(key);
    if (!kernels::joins(nucleus(low).peak, height, table_rule_)) return;
    nucleus(low).prominence = nucleus(low).peak - height;
    nucleus(low).neighbour = to;
    higher[static_cast<size_t>(low)] = high;
  }

  Numbers numbers() {
    Numbers found = {std::move(first_), std::vector<int32_t>(parents_.size()), 0};
    std::vector<int32_t> given(parents_.size());
    for (size_t i = 0; i < parents_.size(); ++i) {
      const auto root = static_cast<size_t>(find(static_cast<int32_t>(i)));
      if (!kernels::is_kept(areas_[root], peaks_[root], probabilities_[root], rule_)) continue;
      if (given[root] == 0) given[root] = ++found.count;
      found.ids[i] = given[root];
    }
    return found;
  }

  const std::vector<Strip>& strips_;
  const int32_t width_;
  const kernels::LabelRule rule_;
  kernels::LabelRule table_rule_;  // of the passes that the table tells of
  kernels::LabelRule kept_rule_;   // of the passes that are kept
  NucleusTable* const table_;
  std::vector<size_t> first_;
  std::vector<int32_t> parents_;
  std::vector<int32_t> areas_;
  std::vector<int32_t> peaks_;
  std::vector<uint64_t> probabilities_;
  std::vector<Pass> passes_;
};

}  // namespace

Numbers join_basins(const std::vector<Strip>& strips, int64_t width, const kernels::LabelRule& rule,
                    NucleusTable* table) {
  return Joining(strips, width, rule, table).run();
}

}  // namespace nucleiseg::cpu
