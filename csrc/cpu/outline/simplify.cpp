#include "cpu/outline/simplify.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

namespace nucleiseg::cpu {
namespace {

constexpr size_t kRectangle = 4;

double square(double value) { return value * value; }

// The squared distance of a point from a segment.
double distance2(const Corner& point, const Corner& from, const Corner& to) {
  const double rows = to.row - from.row;
  const double columns = to.column - from.column;
  const double row = point.row - from.row;
  const double column = point.column - from.column;
  const double length2 = square(rows) + square(columns);
  const double along = rows * row + columns * column;
  if (length2 == 0.0 || along <= 0.0) return square(row) + square(column);
  if (along >= length2) return square(point.row - to.row) + square(point.column - to.column);
  return square(rows * column - columns * row) / length2;
}

// The farthest corner between two from the segment that joins them; size() is the first again.
std::pair<size_t, double> farthest(const std::vector<Corner>& ring, size_t from, size_t to) {
  std::pair<size_t, double> found = {from, -1.0};
  const Corner& end = ring[to % ring.size()];
  for (size_t i = from + 1; i < to; ++i) {
    const double distance = distance2(ring[i], ring[from], end);
    if (distance > found.second) found = {i, distance};
  }
  return found;
}

// Marks what is kept between two corners.
void refine(const std::vector<Corner>& ring, size_t begin, size_t end, double tolerance2,
            std::vector<bool>& kept) {
  std::vector<std::pair<size_t, size_t>> open = {{begin, end}};
  while (!open.empty()) {
    const auto [from, to] = open.back();
    open.pop_back();
    const auto [middle, distance] = farthest(ring, from, to);
    if (distance <= tolerance2) continue;
    kept[middle] = true;
    open.push_back({from, middle});
    open.push_back({middle, to});
  }
}

struct Segment {
  size_t index;
  Corner from;
  Corner to;

  int32_t top() const { return std::min(from.row, to.row); }
  int32_t bottom() const { return std::max(from.row, to.row); }
};

// 1, 0 or -1: on which side of the line from a to b does c lie?
int side(const Corner& a, const Corner& b, const Corner& c) {
  const int64_t area = int64_t{b.column - a.column} * (c.row - a.row) -
                       int64_t{c.column - a.column} * (b.row - a.row);
  return (area > 0) - (area < 0);
}

// Is c, which lies on the line from a to b, between them?
bool is_between(const Corner& a, const Corner& b, const Corner& c) {
  return std::min(a.row, b.row) <= c.row && c.row <= std::max(a.row, b.row) &&
         std::min(a.column, b.column) <= c.column && c.column <= std::max(a.column, b.column);
}

bool share_a_point(const Segment& a, const Segment& b) {
  const int a_from = side(b.from, b.to, a.from);
  const int a_to = side(b.from, b.to, a.to);
  const int b_from = side(a.from, a.to, b.from);
  const int b_to = side(a.from, a.to, b.to);
  return (a_from * a_to < 0 && b_from * b_to < 0) ||
         (a_from == 0 && is_between(b.from, b.to, a.from)) ||
         (a_to == 0 && is_between(b.from, b.to, a.to)) ||
         (b_from == 0 && is_between(a.from, a.to, b.from)) ||
         (b_to == 0 && is_between(a.from, a.to, b.to));
}

// Neighbours share the corner between them, and more only where the second one turns back.
bool turns_back(const Segment& first, const Segment& second) {
  return side(first.from, first.to, second.to) == 0 &&
         (is_between(first.from, first.to, second.to) ||
          is_between(second.from, second.to, first.from));
}

bool collide(const Segment& a, const Segment& b, size_t count) {
  if ((a.index + 1) % count == b.index) return turns_back(a, b);
  if ((b.index + 1) % count == a.index) return turns_back(b, a);
  return share_a_point(a, b);
}

}  // namespace

bool is_simple(const std::vector<Corner>& ring) {
  std::vector<Segment> segments;
  for (size_t i = 0; i < ring.size(); ++i) {
    segments.push_back({i, ring[i], ring[(i + 1) % ring.size()]});
  }
  std::sort(segments.begin(), segments.end(),
            [](const Segment& a, const Segment& b) { return a.top() < b.top(); });
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    for (size_t j = i + 1; j < segments.size() && segments[j].top() <= segment.bottom(); ++j) {
      if (collide(segment, segments[j], segments.size())) return false;
    }
  }
  return true;
}

std::vector<Corner> simplify(const std::vector<Corner>& ring, double tolerance) {
  if (ring.size() <= kRectangle || tolerance <= 0.0) return ring;
  // The farthest corner from the first, and the farthest from the line through both: a triangle
  // that is never flat, since no ring of pixels' edges is.
  const size_t opposite = farthest(ring, 0, ring.size()).first;
  const auto before = farthest(ring, 0, opposite);
  const auto after = farthest(ring, opposite, ring.size());
  const size_t third = before.second >= after.second ? before.first : after.first;
  std::vector<bool> kept(ring.size());
  kept[0] = kept[opposite] = kept[third] = true;
  const double tolerance2 = square(tolerance);
  const size_t low = std::min(third, opposite);
  const size_t high = std::max(third, opposite);
  refine(ring, 0, low, tolerance2, kept);
  refine(ring, low, high, tolerance2, kept);
  refine(ring, high, ring.size(), tolerance2, kept);
  std::vector<Corner> fewer;
  for (size_t i = 0; i < ring.size(); ++i) {
    if (kept[i]) fewer.push_back(ring[i]);
  }
  return fewer;
}

}  // namespace nucleiseg::cpu
