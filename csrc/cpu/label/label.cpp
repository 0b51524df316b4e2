// Two parallel passes over strips of rows, and one step for all strips in between:
//
//   scan    each pixel climbs to a neighbour; pixels side by side that lead to one peak become
//           pieces, and pieces whose ways meet become basins; the passes between basins that may
//           join are noted (csrc/cpu/label/label_strip.cpp)
//   join    basins that strips part become one, the passes are taken from the highest down, as
//           Kruskal takes edges ("On the Shortest Spanning Subtree of a Graph and the Traveling
//           Salesman Problem", 1956, doi:10.1090/S0002-9939-1956-0078686-7), what is one nucleus
//           merges, and the nuclei are numbered (csrc/cpu/label/label_join.cpp)
//   paint   each piece gets its nucleus's id
//
// Most pixels are never looked at one by one: which neighbours in a row lead to one peak is found
// for many at once, from their codes and from what is known of the rows above and below.
//
// Everything is an integer and no two pixels or passes are equal, so neither the thread count nor
// where the strips lie shows in the result.
#include "cpu/label/label.h"

#include <algorithm>
#include <vector>

#include "cpu/label/fill.h"
#include "cpu/label/label_join.h"
#include "cpu/label/label_strip.h"
#include "cpu/simd/rows.h"
#include "threads/parallel.h"

namespace nucleiseg::cpu {
namespace {

// Few strips, since what their edges part has to be put together again; but enough of them that all
// threads have work, unless it is less than starting a thread costs.
constexpr int64_t kStripPixels = 1 << 19;
constexpr int64_t kLeastPixels = 1 << 15;

std::vector<Strip> make_strips(const ImageView& maps, int threads) {
  const int64_t pixels = maps.height * maps.width;
  const int64_t shares = std::min<int64_t>(threads, pixels / kLeastPixels);
  const int64_t count = std::max({int64_t{1}, pixels / kStripPixels, shares});
  std::vector<Strip> strips(static_cast<size_t>(std::min(count, maps.height)));
  const auto rows = [&](size_t i) {
    return maps.height * static_cast<int64_t>(i) / static_cast<int64_t>(strips.size());
  };
  for (size_t i = 0; i < strips.size(); ++i) {
    strips[i].row_begin = rows(i);
    strips[i].row_end = rows(i + 1);
  }
  return strips;
}

}  // namespace

void mask(const ImageView& maps, uint8_t threshold, uint8_t* out, std::ptrdiff_t row_stride,
          int threads) {
  const Rows& table = rows();
  parallel_for(maps.height, rows_per_thread(maps.values_per_row()), threads,
               [&](int64_t begin, int64_t end) {
                 std::vector<uint8_t> scratch;
                 for (int64_t row = begin; row < end; ++row) {
                   table.mask(row_values<uint8_t>(maps, row, scratch),
                              static_cast<size_t>(maps.width), threshold, out + row * row_stride);
                 }
               });
}

int32_t label(const ImageView& maps, const LabelRule& rule, int32_t* labels, int threads,
              NucleusTable* table) {
  std::vector<Strip> strips = make_strips(maps, threads);
  // What is scanned for more passes has the same basins.
  const int32_t most = std::max<int32_t>(rule.merge.prominence, table ? table->prominence : 0);
  scan_strips(maps, kernels::with_prominence(rule, most), strips, 0, threads);
  const Numbers numbers = join_basins(strips, maps.width, rule, table);
  parallel_for(static_cast<int64_t>(strips.size()), 1, threads, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const int32_t* ids = numbers.ids.data() + numbers.first[i];
      for (const Piece& piece : strips[i].pieces) {
        fill_exactly(labels + piece.start, piece.length, ids[piece.basin]);
      }
    }
  });
  return numbers.count;
}

}  // namespace nucleiseg::cpu
