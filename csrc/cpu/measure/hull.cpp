#include "cpu/measure/hull.h"

#include <vector>

namespace nucleiseg::cpu {
namespace {

// In half pixels, so that the middles of edges are whole numbers; centres are even.
struct Point {
  int64_t y;
  int64_t x;
};

// Positive where the way from a by b to c turns away from small x.
int64_t bend(const Point& a, const Point& b, const Point& c) {
  return (b.x - a.x) * (c.y - b.y) - (c.x - b.x) * (b.y - a.y);
}

// The side of the hull with the least x, by Andrew's monotone chain (Information Processing Letters
// 9(5), 1979, doi:10.1016/0020-0190(79)90072-3). Points come with y never falling.
class Side {
 public:
  void add(const Point& point) {
    if (!chain_.empty() && chain_.back().y == point.y) {
      if (chain_.back().x <= point.x) return;
      chain_.pop_back();
    }
    while (chain_.size() > 1 && bend(chain_[chain_.size() - 2], chain_.back(), point) >= 0) {
      chain_.pop_back();
    }
    chain_.push_back(point);
  }

  // The sum, over all rows of pixels, of the first column whose centre is not left of the side.
  int64_t sum_of_columns() const;

 private:
  std::vector<Point> chain_;
};

// Both for a positive divisor.
int64_t floor_divide(int64_t value, int64_t by) { return value / by - (value % by < 0 ? 1 : 0); }

// The sum of floor((a i + b) / m) for i = 0..n - 1, with 0 <= a, b, in as many steps as Euclid's
// algorithm takes for a and m.
int64_t floor_sum(int64_t n, int64_t m, int64_t a, int64_t b) {
  int64_t sum = 0;
  while (n > 0) {
    sum += n * (n - 1) / 2 * (a / m) + n * (b / m);
    a %= m;
    b %= m;
    const int64_t top = a * n + b;
    n = top / m;
    b = top % m;
    const int64_t next = m;
    m = a;
    a = next;
    if (m == 0) break;
  }
  return sum;
}

// As above for any a and b.
int64_t any_floor_sum(int64_t n, int64_t m, int64_t a, int64_t b) {
  const int64_t whole_a = floor_divide(a, m);
  const int64_t whole_b = floor_divide(b, m);
  return n * (n - 1) / 2 * whole_a + n * whole_b +
         floor_sum(n, m, a - whole_a * m, b - whole_b * m);
}

int64_t Side::sum_of_columns() const {
  int64_t sum = 0;
  for (size_t i = 1; i < chain_.size(); ++i) {
    const Point& from = chain_[i - 1];
    const Point& to = chain_[i];
    // Even y from from.y up to, not including, to.y: each row once, since the ends' y are odd.
    const int64_t first = from.y + (from.y & 1);
    const int64_t rows = (to.y - first + 1) / 2;
    const int64_t dy = to.y - from.y;
    const int64_t dx = to.x - from.x;
    // ceil(v / (2 dy)) = -floor(-v / (2 dy)), where v = from.x dy + dx (y - from.y).
    const int64_t v = from.x * dy + dx * (first - from.y);
    sum -= any_floor_sum(rows, 2 * dy, -2 * dx, -v);
  }
  return sum;
}

// Puts the outer middles of the edges of a row's first, or mirrored last, pixel to the side.
void add_pixel(Side& side, int64_t row, int64_t column) {
  side.add({2 * row - 1, 2 * column});
  side.add({2 * row, 2 * column - 1});
  side.add({2 * row + 1, 2 * column});
}

}  // namespace

int64_t hull_area(const NucleusRun* begin, const NucleusRun* end) {
  Side left;
  Side right;  // mirrored
  for (const NucleusRun* run = begin; run != end; ++run) {
    if (run == begin || run[-1].row != run->row) add_pixel(left, run->row, run->begin);
    if (run + 1 == end || run[1].row != run->row) add_pixel(right, run->row, 1 - run->end);
  }
  const int64_t rows = end[-1].row - begin->row + 1;
  return rows - right.sum_of_columns() - left.sum_of_columns();
}

}  // namespace nucleiseg::cpu
