#include "cpu/label/label_strip.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cpu/label/label_pass.h"
#include "cpu/simd/rows.h"
#include "threads/parallel.h"

namespace nucleiseg::cpu {

using kernels::kBackground;
using kernels::kClimb;
using kernels::kPeak;

constexpr int64_t kBits = 64;

// One bit for each of the bytes: the lowest of what `flags` makes of eight at once.
template <class Flags>
uint64_t bits_of(const uint8_t* bytes, Flags&& flags) {
  uint64_t bits = 0;
  for (int i = 0; i < kBits; i += 8) {
    uint64_t eight;
    std::memcpy(&eight, bytes + i, sizeof eight);
    // The product's highest byte gets bit k from byte k: 8 k + 7 (8 - k) = 56 + k.
    const uint64_t eight_bits = (flags(eight) & 0x0101010101010101) * 0x0102040810204080 >> 56;
    bits |= eight_bits << i;
  }
  return bits;
}

StripScan::StripScan(const ImageView& maps, const kernels::LabelRule& rule)
    : width_(maps.width),
      pitch_(maps.width + 2 * kMargin),
      blocks_((maps.width + kBits - 1) / kBits),
      rule_(rule),
      maps_(maps),
      heights_(maps, rule.nucleus_threshold),
      scratch_(static_cast<size_t>(maps.width) + kMargin),
      owners_(static_cast<size_t>(2 * (maps.width + kFillSlack))) {
  for (int k = 0; k < kernels::kNeighbours; ++k) {
    step_[kClimb + k] =
        static_cast<int32_t>(kernels::row_step(k) * width_ + kernels::column_step(k));
    column_step_[kClimb + k] = kernels::column_step(k);
  }
}

void StripScan::run(Strip& strip) {
  start(strip);
  heights_.find(strip.row_begin, strip.row_end);
  link_downwards();
  for (int64_t row = rows_ - 1; row >= 0; --row) {
    cut(row);
    if (row + 1 < rows_) follow_upwards(row + 1);
  }
  name_basins(strip);
  if (rule_.merge.prominence > 0) sum_moments(strip);
  if (rule_.min_probability > 0) sum_probabilities(strip);
  find_passes(strip);
  keep_outer_rows(strip);
}

void StripScan::start(const Strip& strip) {
  begin_ = strip.row_begin;
  rows_ = strip.row_end - strip.row_begin;
  // Margins are 0 from the start, and stay so.
  const auto size = static_cast<size_t>((rows_ + 2) * pitch_);
  codes_.resize(std::max(codes_.size(), size));
  links_.resize(std::max(links_.size(), size));
  std::fill_n(codes(rows_), width_, kBackground);
  std::fill_n(links(rows_), width_, uint8_t{0});
  ends_.resize(std::max(ends_.size(), static_cast<size_t>(rows_ * blocks_)));
  parts_.clear();
  row_begin_.assign(1, 0);
}

void StripScan::link_downwards() {
  const Rows& table = rows();
  const auto count = static_cast<size_t>(width_);
  for (int64_t row = 0; row < rows_; ++row) {
    table.codes(heights(row - 1), heights(row), heights(row + 1), count, codes(row));
    table.link_above(codes(row - 1), codes(row), links(row - 1), count, links(row),
                     scratch_.data());
  }
}

void StripScan::cut(int64_t row) {
  const uint8_t* code = codes(row);
  uint8_t* link = links(row);
  const auto count = static_cast<size_t>(width_);
  rows().link_below(code, codes(row + 1), links(row + 1), count, link, scratch_.data());
  rows().tops(heights(row), link, count, scratch_.data());
  OpenPiece open;
  Ends* ends = ends_.data() + row * blocks_;
  for (int64_t first = 0; first < width_; first += kBits, ++ends) {
    const uint64_t nucleus = bits_of(code + first, [](uint64_t codes) {
      return (codes + 0x7f7f7f7f7f7f7f7f) >> 7;  // codes are no greater than 128
    });
    *ends = {0, static_cast<int32_t>(parts_.size())};
    if (nucleus == 0) continue;
    const auto as_they_are = [](uint64_t flags) { return flags; };
    ends->columns = nucleus & ~bits_of(link + first, as_they_are);
    const uint64_t tops = bits_of(scratch_.data() + first, as_they_are);
    cut_block(row, first, nucleus, ends->columns, tops, open);
  }
  row_begin_.push_back(static_cast<int32_t>(parts_.size()));
}

// Of the columns from `first` on, given as bits: the nucleus pixels, the last ones of pieces and
// those that are higher than their neighbours. A piece may go on in the next block.
void StripScan::cut_block(int64_t row, int64_t first, uint64_t nucleus, uint64_t last,
                          uint64_t tops, OpenPiece& open) {
  const int16_t* height = heights(row);
  while (nucleus != 0) {
    if (open.begin == kNowhere) open = {first + __builtin_ctzll(nucleus), kNowhere};
    const uint64_t end = last & -last;
    const uint64_t own = end ^ (end - 1);  // all where there is no end
    for (uint64_t top = tops & own; top != 0; top &= top - 1) {
      const int64_t column = first + __builtin_ctzll(top);
      if (open.highest == kNowhere || height[column] > height[open.highest]) open.highest = column;
    }
    if (end == 0) return;
    add_piece(row, open, first + __builtin_ctzll(end));
    open.begin = kNowhere;
    nucleus &= ~own;
    last &= ~own;
    tops &= ~own;
  }
}

// Which way a piece climbs cannot be foretold, so both are worked out, here and below.
void StripScan::add_piece(int64_t row, const OpenPiece& piece, int64_t last) {
  const auto number = static_cast<int32_t>(parts_.size());
  fill_with_slack(owners(row) + piece.begin, last - piece.begin + 1, number);
  const auto begin = static_cast<int32_t>(piece.begin);
  parts_.push_back({{first_pixel(row) + begin, static_cast<int32_t>(last) + 1 - begin, kNowhere},
                    number,
                    kNowhere,
                    heights(row)[piece.highest] / kernels::kHeightUnit});
  // What the highest pixel climbs to is higher than all of the piece: no way leads back to it.
  const uint8_t code = codes(row)[piece.highest];
  const bool is_known =
      (code >= kClimb + kernels::kSouth - 1) & (code != kPeak) & (row + 1 < rows_);
  const int32_t targets[2] = {number, owners(row + 1)[piece.highest + column_step_[code]]};
  part(number).parent = part(targets[is_known]).parent;
  const int32_t pixel = first_pixel(row) + static_cast<int32_t>(piece.highest) + step_[code];
  const int32_t outlets[2] = {pixel, kNowhere};
  part(number).outlet = outlets[is_known | (code == kPeak)];
}

// Finds the parents of a row's pieces in the row above, which was cut after it.
void StripScan::follow_upwards(int64_t row) {
  const int32_t first = first_pixel(row - 1);
  for (int32_t i = pieces_begin(row); i < pieces_end(row); ++i) {
    const int64_t column = part(i).outlet - first;
    const bool is_above = static_cast<uint64_t>(column) < static_cast<uint64_t>(width_);
    const int64_t columns[2] = {0, column};
    const int32_t targets[2] = {i, owners(row - 1)[columns[is_above]]};
    const int32_t outlets[2] = {part(i).outlet, kNowhere};
    part(i).parent = part(targets[is_above]).parent;
    part(i).outlet = outlets[is_above];
  }
}

// After two steps nearly all are there.
int32_t StripScan::find(int32_t piece) {
  int32_t root = part(part(piece).parent).parent;
  while (part(root).parent != root) root = part(root).parent;
  part(piece).parent = root;
  return root;
}

void StripScan::name_basins(Strip& strip) {
  names_.assign(parts_.size(), kNowhere);
  near_peak_.resize(parts_.size());
  size_t near_count = 0;
  near_begin_.assign(1, 0);
  strip.pieces.reserve(parts_.size());
  for (int64_t row = 0; row < rows_; ++row) {
    for (int32_t i = pieces_begin(row); i < pieces_end(row); ++i) {
      const int32_t root = find(i);
      const int32_t peak = part(root).top;
      int32_t& name = names_[static_cast<size_t>(root)];
      if (name == kNowhere) {
        name = static_cast<int32_t>(strip.basins.size());
        strip.basins.push_back({0, peak, part(root).outlet, 0});
      }
      Part& piece = part(i);
      piece.basin = name;
      strip.basins[static_cast<size_t>(name)].area += piece.length;
      strip.pieces.push_back(piece);
      near_peak_[near_count] = i;
      near_count += kernels::joins(peak, piece.top, rule_);
    }
    near_begin_.push_back(near_count);
  }
}

void StripScan::sum_moments(Strip& strip) const {
  strip.moments.resize(strip.basins.size());
  auto row = static_cast<uint64_t>(strip.row_begin);
  int64_t row_end = (strip.row_begin + 1) * width_;
  for (const Piece& piece : strip.pieces) {
    for (; piece.start >= row_end; row_end += width_) ++row;
    const auto first = static_cast<uint64_t>(piece.start - (row_end - width_));
    kernels::Moments& sums = strip.moments[static_cast<size_t>(piece.basin)];
    sums =
        kernels::sum_of(sums, kernels::moments_of(row, first, static_cast<uint64_t>(piece.length)));
  }
}

void StripScan::sum_probabilities(Strip& strip) const {
  std::vector<uint8_t> scratch;
  auto piece = strip.pieces.cbegin();
  for (int64_t row = strip.row_begin; row < strip.row_end; ++row) {
    const uint8_t* const values = row_values<uint8_t>(maps_, row, scratch);
    const auto first = static_cast<int32_t>(row * width_);
    for (; piece != strip.pieces.cend() && piece->start - first < width_; ++piece) {
      const uint8_t* const own = values + 2 * int64_t{piece->start - first};
      uint64_t sum = 0;
      for (int64_t i = 0; i < piece->length; ++i) sum += own[2 * i];
      strip.basins[static_cast<size_t>(piece->basin)].probability += sum;
    }
  }
}

// Of the passes between two basins the greatest is enough. A pair's follow each other closely, so
// nearly all others are found where the pair's last one is remembered. A new one has no key.
Pass& StripScan::recall(int32_t from, int32_t to, Strip& strip) {
  const int32_t low = std::min(from, to);
  const int32_t high = std::max(from, to);
  size_t& last = recent_[(static_cast<size_t>(low) * 5 + static_cast<size_t>(high)) % kRecent];
  const bool is_known =
      last < strip.passes.size() && strip.passes[last].from == low && strip.passes[last].to == high;
  if (!is_known) {
    last = strip.passes.size();
    strip.passes.push_back({0, low, high});
  }
  return strip.passes[last];
}

// A pass that leads nowhere even for the lower of two peaks, as far as they are known, never will:
// peaks only rise. Most pieces are too far below their peak for a pass there to lead on.
void StripScan::find_passes(Strip& strip) {
  const auto width = static_cast<int32_t>(width_);
  for (int64_t row = 0; row < rows_; ++row) {
    for (size_t k = near_begin_[static_cast<size_t>(row)];
         k < near_begin_[static_cast<size_t>(row) + 1]; ++k) {
      const int32_t i = near_peak_[k];
      if (i > pieces_begin(row)) look_beside(row, i - 1, i, strip);
      if (i + 1 < pieces_end(row)) look_beside(row, i, i + 1, strip);
    }
    if (row > 0) {
      each_touching(row, row - 1, -width,
                    [&](int32_t i, int32_t above) { look_below(row - 1, above, i, strip); });
    }
    if (row + 1 < rows_) {
      each_touching(row, row + 1, width,
                    [&](int32_t i, int32_t below) { look_below(row, i, below, strip); });
    }
  }
}

// The first piece of a row that reaches a column or ends behind it.
int32_t StripScan::first_from(int64_t row, int64_t column) const {
  if (column <= 0) return pieces_begin(row);
  const Ends& ends = ends_[static_cast<size_t>(row * blocks_ + column / kBits)];
  const uint64_t before = (uint64_t{1} << (column % kBits)) - 1;
  return ends.before + __builtin_popcountll(ends.columns & before);
}

// Calls fn(piece, other) for each piece of a row that is near its peak and each that it touches in
// another row, whose pixels are `shift` further on.
template <class Function>
void StripScan::each_touching(int64_t row, int64_t other_row, int32_t shift, Function&& fn) const {
  const int32_t end = pieces_end(other_row);
  for (size_t k = near_begin_[static_cast<size_t>(row)];
       k < near_begin_[static_cast<size_t>(row) + 1]; ++k) {
    const Piece& piece = part(near_peak_[k]);
    const int64_t column = piece.start - first_pixel(row);
    for (int32_t other = first_from(other_row, column - 1); other != end; ++other) {
      if (part(other).start - shift > piece.end()) break;
      if (part(other).basin != piece.basin) fn(near_peak_[k], other);
    }
  }
}

bool StripScan::may_join(const Part& a, const Part& b, int32_t height, const Strip& strip) const {
  const auto peak = [&](const Part& piece) {
    return strip.basins[static_cast<size_t>(piece.basin)].peak;
  };
  return kernels::joins(std::min(peak(a), peak(b)), height, rule_);
}

template <class Key>
void StripScan::look(const Part& from, const Part& to, Strip& strip, Key&& key_of) {
  if (from.basin == to.basin) return;
  const int32_t most = std::min(from.top, to.top);
  if (!may_join(from, to, most, strip)) return;
  Pass& best = recall(from.basin, to.basin, strip);
  if (kernels::pass_height(best.key) <= most) best.key = std::max(best.key, key_of());
}

void StripScan::look_beside(int64_t row, int32_t left, int32_t right, Strip& strip) {
  const Part& piece = part(left);
  if (piece.end() != part(right).start) return;
  look(piece, part(right), strip,
       [&] { return pass_beside(piece, heights(row), first_pixel(row)); });
}

void StripScan::look_below(int64_t row, int32_t upper, int32_t lower, Strip& strip) {
  look(part(upper), part(lower), strip, [&] {
    return pass_below(part(upper), part(lower), heights(row), heights(row + 1), first_pixel(row),
                      static_cast<int32_t>(width_));
  });
}

void StripScan::keep_outer_rows(Strip& strip) const {
  strip.first_row_end = pieces_end(0) - pieces_begin(0);
  strip.last_row_begin = static_cast<int32_t>(parts_.size()) - row_begin_[1];
  strip.first_heights.assign(heights(0), heights(0) + width_);
  strip.last_heights.assign(heights(rows_ - 1), heights(rows_ - 1) + width_);
}

void scan_strips(const ImageView& maps, const kernels::LabelRule& rule, std::vector<Strip>& strips,
                 size_t first, int threads) {
  std::atomic<size_t> next{first};
  const auto members = std::min<int64_t>(threads, static_cast<int64_t>(strips.size() - first));
  parallel_for(members, 1, threads, [&](int64_t, int64_t) {
    StripScan scan(maps, rule);
    for (size_t i; (i = next.fetch_add(1)) < strips.size();) scan.run(strips[i]);
  });
}

}  // namespace nucleiseg::cpu
