#include "cpu/label_scan.h"

#include "cpu/window.h"

namespace nucleiseg::cpu {
namespace {

using kernels::kBackground;
using kernels::kClimb;
using kernels::kCore;
using kernels::kNeighbours;
using kernels::kPlateau;
using kernels::kSummit;

// Cores that touch only at a corner are two nuclei.
constexpr int kCoreConnectivity = 4;
static_assert(kCoreConnectivity == 4, "join_core_run looks at the pixel above alone");

// Points every nucleus pixel of a strip to where it climbs or to its set's root.
class Scan {
 public:
  Scan(const ImageView& maps, const LabelRule& rule, Forest forest, Strip& strip)
      : width_(static_cast<int32_t>(maps.width)),
        forest_(forest),
        strip_(strip),
        window_(maps, rule.nucleus_threshold, rule.core_threshold) {
    for (int k = 0; k < kNeighbours; ++k) {
      step_[k] = kernels::row_step(k) * width_ + kernels::column_step(k);
      climb_[kClimb + k] = step_[k];
    }
  }

  const std::vector<Run>& run() {
    window_.start(strip_.row_begin);
    for (row_ = strip_.row_begin; row_ < strip_.row_end; ++row_) {
      window_.advance(row_);
      codes_ = window_.codes(row_);
      above_ = window_.codes(row_ - 1);
      first_ = static_cast<int32_t>(row_ * width_);
      scan_row();
    }
    return runs_;
  }

 private:
  void scan_row() {
    int32_t column = skip_background(0);
    while (column < width_) {
      const int32_t begin = column;
      while (codes_[column] != kBackground) column = take(column);
      runs_.push_back({first_ + begin, column - begin});
      column = skip_background(column);
    }
  }

  int32_t skip_background(int32_t column) const {
    return static_cast<int32_t>(window_.skip_background(row_, column));
  }

  // Deals with the pixel, or the whole run of core pixels, and returns the column after it.
  int32_t take(int32_t column) {
    const uint8_t code = codes_[column];
    const int32_t pixel = first_ + column;
    if (code == kCore) return join_core_run(column);
    forest_.point(pixel, pixel + climb_[code]);
    if (code == kPlateau) join_zone(column);
    if (code == kSummit) strip_.zones.push_back(pixel);
    return column + 1;
  }

  int32_t join_core_run(int32_t column) {
    const int32_t begin = column;
    int32_t root = first_ + column;
    bool joined = false;
    for (; codes_[column] == kCore; ++column) {
      forest_.point(first_ + column, root);
      const bool core_above = above_[column] == kCore;
      if (core_above && !joined) root = join(root, first_ + column - width_);
      joined = core_above;
    }
    strip_.cores.push_back({root, column - begin});
    return column;
  }

  // Wu, Otoo and Suzuki's decision tree: the pixel above touches the three others.
  void join_zone(int32_t column) {
    const int32_t pixel = first_ + column;
    const bool joins_left = in_zone(3, column, kPlateau);
    if (in_zone(1, column, kPlateau)) {
      join(pixel, pixel + step_[1]);
    } else {
      const bool joins_right = in_zone(2, column, kPlateau);
      const bool joins_diagonal = !joins_left && in_zone(0, column, kPlateau);
      if (joins_left) join(pixel, pixel + step_[3]);
      if (joins_diagonal) join(pixel, pixel + step_[0]);
      if (joins_right) join(pixel, pixel + step_[2]);
      if (!joins_left && !joins_diagonal && !joins_right) strip_.zones.push_back(pixel);
    }
    for (int k = 0; k < kNeighbours; ++k) {
      if (in_zone(k, column, kClimb)) {
        strip_.exits.push_back({pixel, pixel + step_[k]});
        return;
      }
    }
  }

  // Is neighbour k as high as the pixel, and of this kind (any direction of climbing is one)?
  bool in_zone(int k, int32_t column, uint8_t kind) const {
    const int64_t row = row_ + kernels::row_step(k);
    const int32_t other = column + kernels::column_step(k);
    const uint8_t code = window_.codes(row)[other];
    const bool alike = kind == kClimb ? code >= kClimb && code < kPlateau : code == kind;
    return alike && window_.heights(row)[other] == window_.heights(row_)[column];
  }

  int32_t join(int32_t pixel, int32_t other) {
    if (row_ > strip_.row_begin || other >= first_) return forest_.unite(pixel, other);
    strip_.seam.push_back({pixel, other});
    return pixel;
  }

  const int32_t width_;
  Forest forest_;
  Strip& strip_;
  Window window_;
  std::vector<Run> runs_;  // of nucleus pixels
  int32_t step_[kNeighbours];
  int32_t climb_[kCore + 1] = {};
  int64_t row_ = 0;
  int32_t first_ = 0;
  const uint8_t* codes_ = nullptr;
  const uint8_t* above_ = nullptr;
};

// Cuts the runs of a strip into pieces, with the strip still in the cache.
class Cut {
 public:
  Cut(int32_t width, Forest forest, Strip& strip)
      : begin_(static_cast<int32_t>(strip.row_begin * width)),
        size_(static_cast<uint32_t>((strip.row_end - strip.row_begin) * width)),
        forest_(forest),
        strip_(strip) {}

  void run(const std::vector<Run>& runs) {
    for (auto run = runs.rbegin(); run != runs.rend(); ++run) hop(*run);
    for (const Run& run : runs) cut(run);
  }

 private:
  // Backwards, each pixel takes over its target's target: ways that lead down are then short when
  // cut() goes forwards, where ways that lead up are short already.
  void hop(const Run& run) {
    for (int32_t pixel = run.start + run.length - 1; pixel >= run.start; --pixel) {
      const int32_t target = forest_.target(pixel);
      if (is_inside(target)) forest_.point(pixel, forest_.target(target));
    }
  }

  void cut(const Run& run) {
    Piece piece = {run.start, 1, reach(run.start)};
    for (int32_t pixel = run.start + 1; pixel < run.start + run.length; ++pixel) {
      const int32_t reached = reach(pixel);
      if (reached == piece.nucleus) {
        ++piece.length;
      } else {
        strip_.pieces.push_back(piece);
        piece = {pixel, 1, reached};
      }
    }
    strip_.pieces.push_back(piece);
  }

  // The set's root that the pixel reaches, or the first pixel outside the strip on its way. After
  // hop() two steps nearly always do: written without a loop, they have no branch to mispredict.
  int32_t reach(int32_t pixel) {
    const int32_t target = forest_.target(pixel);
    if (!is_inside(target)) return target;
    int32_t next = forest_.target(target);
    if (next != target && is_inside(next)) next = reach_far(next);
    forest_.point(pixel, next);
    return next;
  }

  int32_t reach_far(int32_t pixel) const {
    int32_t next = forest_.target(pixel);
    while (next != pixel && is_inside(next)) {
      pixel = next;
      next = forest_.target(pixel);
    }
    return next;
  }

  bool is_inside(int32_t pixel) const { return static_cast<uint32_t>(pixel - begin_) < size_; }

  const int32_t begin_;
  const uint32_t size_;
  Forest forest_;
  Strip& strip_;
};

}  // namespace

void scan_strip(const ImageView& maps, const LabelRule& rule, Forest forest, Strip& strip) {
  Scan scan(maps, rule, forest, strip);
  Cut(static_cast<int32_t>(maps.width), forest, strip).run(scan.run());
}

}  // namespace nucleiseg::cpu
