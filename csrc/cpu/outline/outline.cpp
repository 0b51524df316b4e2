// Two parallel passes: strips of rows are searched for the corners where a way along a label's edge
// turns east, then each label's ways are walked from those. Every way goes east somewhere, so none
// is missed, and a label's corners belong to one thread.
//
// A way that comes twice through a corner is cut into two rings there. Which outside a hole belongs
// to is found by going up from its top: the next edge there is that of the outside or of another
// hole in it, and lies higher.
#include "cpu/outline/outline.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "cpu/outline/simplify.h"
#include "threads/parallel.h"

namespace nucleiseg::cpu {
namespace {

constexpr int64_t kLabelsPerThread = 64;

// A way goes from corner to corner of the pixels, which are unit squares, with the label's pixel on
// its right hand, rows counting downwards. So the outside of a nucleus is walked clockwise on the
// screen, and its holes the other way.
//
// East, south, west, north: adding 1 turns right.
constexpr int kDirections = 4;
constexpr int kEast = 0;

int row_heading(int direction) { return (2 - direction) % 2; }
int column_heading(int direction) { return (1 - direction) % 2; }

// The pixels around a corner that lie ahead; those behind are the label's (right) and another's.
struct Ahead {
  bool left;   // is it the label's?
  bool right;  // is it the label's?
};

// How far the direction turns: pixels that touch only at a corner are not connected, so the way
// keeps to the pixel that it follows.
int turn(const Ahead& ahead) {
  if (!ahead.right) return 1;
  return ahead.left ? kDirections - 1 : 0;
}

// Does the way come through this corner twice, once around each of two diagonal pixels?
bool is_diagonal(const Ahead& ahead) { return ahead.left && !ahead.right; }

// Where a way along the label's edge turns east.
struct Start {
  int32_t label;
  Corner corner;
};

bool operator<(const Start& start, const Corner& corner) { return start.corner < corner; }
bool operator<(const Corner& corner, const Start& start) { return corner < start.corner; }

void find_starts(const LabelView& labels, int64_t row, std::vector<Start>& starts) {
  const int32_t* ids = labels.row(row);
  for (int64_t column = 0; column < labels.width; ++column) {
    const int32_t label = ids[column];
    if (label == 0 || labels.at(row - 1, column) == label) continue;
    const bool continues = column > 0 && ids[column - 1] == label;
    if (continues && labels.at(row - 1, column - 1) != label) continue;
    starts.push_back({label, {static_cast<int32_t>(row), static_cast<int32_t>(column)}});
  }
}

// Twice the area that the ring encloses, negative for a hole.
int64_t doubled_area(const std::vector<Corner>& ring) {
  int64_t area = 0;
  for (size_t i = 0; i < ring.size(); ++i) {
    const Corner& from = ring[i];
    const Corner& to = ring[i + 1 == ring.size() ? 0 : i + 1];
    area += int64_t{from.column} * to.row - int64_t{to.column} * from.row;
  }
  return area;
}

std::vector<Corner> simplify_validly(const std::vector<Corner>& ring, double tolerance) {
  std::vector<Corner> fewer = simplify(ring, tolerance);
  const bool is_valid =
      fewer.size() == ring.size() || (doubled_area(fewer) > 0 && is_simple(fewer));
  return is_valid ? fewer : ring;
}

// A label's ways, one after the other, and what becomes of them.
class Walker {
 public:
  Walker(const LabelView& labels, const Groups<Start>& starts, int32_t label)
      : labels_(labels),
        begin_(starts.begin(label)),
        end_(starts.end(label)),
        label_(label),
        way_of_(static_cast<size_t>(end_ - begin_), kNone) {}

  void run(double tolerance, Rings& rings) {
    for (const Start* start = begin_; start != end_; ++start) {
      if (way_of_[static_cast<size_t>(start - begin_)] == kNone) walk(start->corner);
    }
    for (Piece& piece : pieces_) piece.part = first_of_part(piece.way);
    std::sort(pieces_.begin(), pieces_.end());
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const Piece& piece = pieces_[i];
      const bool has_hole = i + 1 < pieces_.size() && pieces_[i + 1].hole;
      const std::vector<Corner> ring =
          piece.hole || has_hole ? piece.ring : simplify_validly(piece.ring, tolerance);
      rings.points.insert(rings.points.end(), ring.begin(), ring.end());
      rings.ends.push_back(static_cast<int64_t>(rings.points.size()));
      rings.owners.push_back(label_);
      rings.holes.push_back(piece.hole);
    }
  }

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);

  struct Way {
    Corner top;     // the first corner of an outside; a hole's top edge begins or ends there
    bool is_hole;   // it encloses no pixel of the label's
    size_t parent;  // of a hole: a way of the same part that reaches higher
  };

  // A ring, cut from a way.
  struct Piece {
    std::vector<Corner> ring;
    size_t way;
    bool hole;
    Corner part;  // the first corner of its outside

    bool operator<(const Piece& other) const {
      if (!(part == other.part)) return part < other.part;
      return hole != other.hole ? other.hole : ring.front() < other.ring.front();
    }
  };

  bool is_own(int64_t row, int64_t column) const { return labels_.at(row, column) == label_; }

  size_t way_at(const Start* start) const { return way_of_[static_cast<size_t>(start - begin_)]; }

  Ahead look_ahead(const Corner& corner, int direction) const {
    // The pixel south-east of a corner has its numbers.
    const int row = row_heading(direction);
    const int column = column_heading(direction);
    const auto pixel = [&](int side) {
      return is_own(corner.row + (row + side * column - 1) / 2,
                    corner.column + (column - side * row - 1) / 2);
    };
    return {pixel(-1), pixel(1)};
  }

  void walk(const Corner& start) {
    const size_t way = ways_.size();
    std::vector<Corner> open;
    std::unordered_map<int64_t, size_t> diagonals;
    ways_.push_back({start, true, kNone});
    Corner corner = start;
    int direction = kEast;
    do {
      corner.row += row_heading(direction);
      corner.column += column_heading(direction);
      const Ahead ahead = look_ahead(corner, direction);
      const int turned = turn(ahead);
      if (turned == 0) continue;
      direction = (direction + turned) % kDirections;
      if (direction == kEast) mark(corner, way);
      ways_[way].top = std::min(ways_[way].top, corner);
      if (!is_diagonal(ahead) || !cut(corner, way, open, diagonals)) {
        open.push_back(corner);
      }
    } while (!(corner == start && direction == kEast));
    finish(std::move(open), way);
  }

  void mark(const Corner& corner, size_t way) {
    way_of_[static_cast<size_t>(std::lower_bound(begin_, end_, corner) - begin_)] = way;
  }

  // At its second visit to a corner the way has closed a ring. Rings never interleave: the way is
  // the edge of one region, and all its contacts lie on the same side of it.
  bool cut(const Corner& corner, size_t way, std::vector<Corner>& open,
           std::unordered_map<int64_t, size_t>& diagonals) {
    const int64_t key = corner.row * (labels_.width + 1) + corner.column;
    const auto [seen, is_new] = diagonals.emplace(key, open.size());
    if (is_new) return false;
    const auto first = open.begin() + static_cast<std::ptrdiff_t>(seen->second);
    std::vector<Corner> ring(first, open.end());
    open.erase(first + 1, open.end());
    finish(std::move(ring), way);
    return true;
  }

  void finish(std::vector<Corner> ring, size_t way) {
    std::rotate(ring.begin(), std::min_element(ring.begin(), ring.end()), ring.end());
    const bool hole = doubled_area(ring) < 0;
    if (!hole) ways_[way].is_hole = false;
    pieces_.push_back({std::move(ring), way, hole, {}});
  }

  Corner first_of_part(size_t way) {
    while (ways_[way].is_hole) {
      const size_t next = parent(way);
      if (ways_[next].is_hole) ways_[way].parent = parent(next);
      way = next;
    }
    return ways_[way].top;
  }

  size_t parent(size_t way) {
    if (ways_[way].parent != kNone) return ways_[way].parent;
    const Corner& top = ways_[way].top;
    int64_t row = top.row - 1;
    while (is_own(row - 1, top.column)) --row;
    const Corner edge = {static_cast<int32_t>(row), top.column};
    ways_[way].parent = way_at(std::upper_bound(begin_, end_, edge) - 1);
    return ways_[way].parent;
  }

  const LabelView& labels_;
  const Start* const begin_;
  const Start* const end_;
  const int32_t label_;
  std::vector<size_t> way_of_;  // of each start
  std::vector<Way> ways_;
  std::vector<Piece> pieces_;
};

void append(const Rings& part, Rings& whole) {
  const auto offset = static_cast<int64_t>(whole.points.size());
  whole.points.insert(whole.points.end(), part.points.begin(), part.points.end());
  for (const int64_t end : part.ends) whole.ends.push_back(offset + end);
  whole.owners.insert(whole.owners.end(), part.owners.begin(), part.owners.end());
  whole.holes.insert(whole.holes.end(), part.holes.begin(), part.holes.end());
}

}  // namespace

Rings outline(const LabelView& labels, int32_t count, double tolerance, int threads) {
  const auto find = [&](int64_t row, auto& starts) { find_starts(labels, row, starts); };
  const auto starts = group_rows<Start>(labels, count, threads, find);
  const int64_t pieces = (int64_t{count} + kLabelsPerThread - 1) / kLabelsPerThread;
  std::vector<Rings> parts(static_cast<size_t>(pieces));
  parallel_for(count, kLabelsPerThread, threads, [&](int64_t begin, int64_t end) {
    Rings& part = parts[static_cast<size_t>(begin / kLabelsPerThread)];
    for (int64_t i = begin; i < end; ++i) {
      Walker(labels, starts, static_cast<int32_t>(i + 1)).run(tolerance, part);
    }
  });
  Rings rings;
  for (const Rings& part : parts) append(part, rings);
  return rings;
}

}  // namespace nucleiseg::cpu
