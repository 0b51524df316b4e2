// Three parallel passes over strips of rows, with the strips' seams closed one after the other in
// between:
//
//   scan     each pixel points to the neighbour it climbs to; cores and plateaus become sets
//            (Rosenfeld and Pfaltz, "Sequential Operations in Digital Picture Processing", 1966,
//            doi:10.1145/321356.321357)
//   resolve  each pixel finds the core it reaches; those that reach none become sets of their own
//   paint    each run of pixels gets its nucleus's id
//
// Everything is an integer and every set's root is its first pixel, so neither the thread count nor
// the order of the unions shows in the result.
#include "cpu/label.h"

#include <vector>

#include "cpu/forest.h"
#include "cpu/parallel.h"
#include "cpu/window.h"

namespace nucleiseg::cpu {
namespace {

using kernels::kBackground;
using kernels::kClimb;
using kernels::kCore;
using kernels::kNeighbours;
using kernels::kPlateau;
using kernels::kSummit;

// Cores that touch only at a corner are two nuclei. join_core_run joins along rows and columns.
constexpr int kCoreConnectivity = 4;
static_assert(kCoreConnectivity == 4, "join_core_run looks at the pixel above alone");

constexpr int32_t kCoreless = -1;
constexpr int64_t kStripsPerThread = 4;  // so that a crowded strip does not keep all others waiting

struct Run {
  int32_t start;
  int32_t length;
};

// A run of pixels of one nucleus: its root, later its number; kCoreless until that set is known.
struct Piece {
  int32_t start;
  int32_t length;
  int32_t nucleus;
};

struct Link {
  int32_t from;
  int32_t to;
};

struct Strip {
  int64_t row_begin;
  int64_t row_end;
  std::vector<Run> runs;       // of nucleus pixels
  std::vector<Link> seam;      // unions with the strip above
  std::vector<int32_t> zones;  // plateau pixels that may be their zone's root
  std::vector<Link> exits;     // from a plateau pixel to a climbing neighbour of its height
  std::vector<Piece> pieces;
};

// The scan of one strip.
class Scan {
 public:
  Scan(const ImageView& maps, const LabelRule& rule, Forest forest, Strip& strip)
      : width_(static_cast<int32_t>(maps.width)),
        forest_(forest),
        strip_(strip),
        window_(maps, rule.nucleus_threshold, rule.core_threshold) {
    for (int k = 0; k < kNeighbours; ++k) {
      step_[k] = kernels::kRowStep[k] * width_ + kernels::kColumnStep[k];
      climb_[kClimb + k] = step_[k];
    }
  }

  void run() {
    window_.start(strip_.row_begin);
    for (row_ = strip_.row_begin; row_ < strip_.row_end; ++row_) {
      window_.advance(row_);
      codes_ = window_.codes(row_);
      above_ = window_.codes(row_ - 1);
      first_ = static_cast<int32_t>(row_ * width_);
      scan_row();
    }
  }

 private:
  void scan_row() {
    int32_t column = skip_background(0);
    while (column < width_) {
      const int32_t begin = column;
      while (codes_[column] != kBackground) column = take(column);
      strip_.runs.push_back({first_ + begin, column - begin});
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
    if (code == kSummit) {
      forest_.point<-1>(pixel, pixel);
    } else {
      forest_.point<1>(pixel, pixel + climb_[code]);
      if (code == kPlateau) join_zone(column);
    }
    return column + 1;
  }

  int32_t join_core_run(int32_t column) {
    int32_t root = first_ + column;
    bool joined = false;
    for (; codes_[column] == kCore; ++column) {
      forest_.point<1>(first_ + column, root);
      const bool core_above = above_[column] == kCore;
      if (core_above && !joined) root = join(root, first_ + column - width_);
      joined = core_above;
    }
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
    const int64_t row = row_ + kernels::kRowStep[k];
    const int32_t other = column + kernels::kColumnStep[k];
    const uint8_t code = window_.codes(row)[other];
    const bool alike = kind == kClimb ? code >= kClimb && code < kPlateau : code == kind;
    return alike && window_.heights(row)[other] == window_.heights(row_)[column];
  }

  int32_t join(int32_t pixel, int32_t other) {
    if (row_ > strip_.row_begin || other >= first_) return forest_.unite<1>(pixel, other);
    strip_.seam.push_back({pixel, other});
    return pixel;
  }

  const int32_t width_;
  Forest forest_;
  Strip& strip_;
  Window window_;
  int32_t step_[kNeighbours];
  int32_t climb_[kCore + 1] = {};
  int64_t row_ = 0;
  int32_t first_ = 0;
  const uint8_t* codes_ = nullptr;
  const uint8_t* above_ = nullptr;
};

// Points each zone to the first of its exits; a zone without one becomes a summit.
void close_zones(std::vector<Strip>& strips, Forest forest) {
  for (const Strip& strip : strips) {
    for (const Link& link : strip.seam) forest.unite<1>(link.from, link.to);
  }
  for (Strip& strip : strips) {
    for (Link& exit : strip.exits) exit.from = forest.find<1>(exit.from);
  }
  for (const Strip& strip : strips) {
    for (const Link& exit : strip.exits) {
      const int32_t target = forest.load(exit.from) - 1;
      if (target == exit.from || exit.to < target) forest.point<1>(exit.from, exit.to);
    }
  }
  for (const Strip& strip : strips) {
    for (const int32_t pixel : strip.zones) {
      if (forest.load(pixel) == pixel + 1) forest.point<-1>(pixel, pixel);
    }
  }
}

// Joins a coreless piece with those that touch it in the row above.
void join_coreless_above(const Piece& piece, int32_t width, Forest& forest) {
  const int32_t column = piece.start % width;
  const int32_t row_above = piece.start - column - width;
  if (row_above < 0) return;
  const int32_t last = std::min(column + piece.length, width - 1);
  for (int32_t other = std::max(column - 1, 0); other <= last; ++other) {
    if (forest.load(row_above + other) < 0) forest.unite<-1>(piece.start, row_above + other);
  }
}

// Resolving one strip.
class Resolve {
 public:
  Resolve(int32_t width, Forest forest, Strip& strip)
      : width_(width),
        begin_(static_cast<int32_t>(strip.row_begin * width)),
        end_(strip.row_end * width),
        forest_(forest),
        strip_(strip) {}

  void run() {
    for (const Run& run : strip_.runs) cut(run);
  }

 private:
  // Cuts a run of nucleus pixels into pieces that reach the same core.
  void cut(const Run& run) {
    const int32_t end = run.start + run.length;
    int32_t start = run.start;
    int32_t nucleus = climb(start);
    for (int32_t pixel = start + 1; pixel < end; ++pixel) {
      const int32_t next = climb(pixel);
      if (next != nucleus) {
        finish({start, pixel - start, nucleus});
        start = pixel;
        nucleus = next;
      }
    }
    finish({start, end - start, nucleus});
  }

  // The root of the core that the pixel reaches, or kCoreless. Shortens the way inside the strip
  // only: a cell has one writer.
  int32_t climb(int32_t pixel) {
    int32_t at = pixel;
    int32_t cell = forest_.load(at);
    while (cell > 0 && cell != at + 1) {
      const int32_t next = cell - 1;
      const int32_t after = forest_.load(next);
      if (after > 0 && at >= begin_ && at < end_) forest_.store(at, after);
      at = next;
      cell = after;
    }
    return cell < 0 ? kCoreless : at;
  }

  void finish(const Piece& piece) {
    strip_.pieces.push_back(piece);
    if (piece.nucleus != kCoreless) return;
    for (int32_t i = 0; i < piece.length; ++i) forest_.point<-1>(piece.start + i, piece.start);
    if (piece.start >= begin_ + width_) join_coreless_above(piece, width_, forest_);
  }

  const int32_t width_;
  const int32_t begin_;
  const int64_t end_;
  Forest forest_;
  Strip& strip_;
};

// Makes the coreless sets whole across the seams, and nuclei like the others.
void close_coreless(std::vector<Strip>& strips, int32_t width, Forest forest) {
  for (const Strip& strip : strips) {
    const int64_t end = (strip.row_begin + 1) * width;
    for (const Piece& piece : strip.pieces) {
      if (piece.start >= end) break;
      if (piece.nucleus == kCoreless) join_coreless_above(piece, width, forest);
    }
  }
  std::vector<int32_t> roots;
  for (Strip& strip : strips) {
    for (Piece& piece : strip.pieces) {
      if (piece.nucleus != kCoreless) continue;
      piece.nucleus = forest.find<-1>(piece.start);
      if (piece.nucleus == piece.start) roots.push_back(piece.start);
    }
  }
  for (const int32_t root : roots) forest.point<1>(root, root);
}

// Numbers the nuclei in raster order of their first pixels, writes the number into their pieces and
// returns each number's area. A root whose number is known holds it negated.
std::vector<int32_t> number_nuclei(std::vector<Strip>& strips, Forest forest) {
  std::vector<int32_t> areas;
  for (Strip& strip : strips) {
    for (Piece& piece : strip.pieces) {
      int32_t cell = forest.load(piece.nucleus);
      if (cell > 0) {
        cell = -static_cast<int32_t>(areas.size()) - 1;
        forest.store(piece.nucleus, cell);
        areas.push_back(0);
      }
      piece.nucleus = -cell - 1;
      areas[static_cast<size_t>(piece.nucleus)] += piece.length;
    }
  }
  return areas;
}

// Turns areas into ids: 1..n for those large enough, 0 for the others. Returns n.
int32_t keep_large(std::vector<int32_t>& areas, int64_t min_area) {
  int32_t count = 0;
  for (int32_t& area : areas) area = area >= min_area ? ++count : 0;
  return count;
}

std::vector<Strip> make_strips(const ImageView& maps, int threads) {
  const int64_t least = rows_per_thread(maps.width);
  const int64_t most = threads > 1 ? threads * kStripsPerThread : 1;
  const int64_t count = std::max<int64_t>(1, std::min(most, maps.height / least));
  std::vector<Strip> strips(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    strips[static_cast<size_t>(i)].row_begin = maps.height * i / count;
    strips[static_cast<size_t>(i)].row_end = maps.height * (i + 1) / count;
  }
  return strips;
}

}  // namespace

int32_t label(const ImageView& maps, const LabelRule& rule, int32_t* labels, int threads) {
  const auto width = static_cast<int32_t>(maps.width);
  Forest forest(labels);
  std::vector<Strip> strips = make_strips(maps, threads);
  const auto each_strip = [&](auto&& fn) {
    parallel_for(static_cast<int64_t>(strips.size()), 1, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) fn(strips[static_cast<size_t>(i)]);
    });
  };
  each_strip([&](Strip& strip) { Scan(maps, rule, forest, strip).run(); });
  close_zones(strips, forest);
  each_strip([&](Strip& strip) { Resolve(width, forest, strip).run(); });
  close_coreless(strips, width, forest);
  std::vector<int32_t> ids = number_nuclei(strips, forest);
  const int32_t count = keep_large(ids, rule.min_area);
  each_strip([&](const Strip& strip) {
    for (const Piece& piece : strip.pieces) {
      std::fill_n(labels + piece.start, piece.length, ids[static_cast<size_t>(piece.nucleus)]);
    }
  });
  return count;
}

}  // namespace nucleiseg::cpu
