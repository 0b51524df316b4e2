// Four parallel passes over strips of rows, with the strips' seams closed one after the other in
// between:
//
//   scan     each pixel points to the neighbour it climbs to; cores and plateaus become sets
//            (Rosenfeld and Pfaltz, "Sequential Operations in Digital Picture Processing", 1966,
//            doi:10.1145/321356.321357); pixels that lead to the same place become pieces
//   resolve  each piece finds the core it reaches; those that reach none, or one too small to
//            count, become sets of their own
//   gates    each coreless piece finds the highest pixel where it touches a nucleus, and each
//            coreless set joins the nucleus at the highest of its pieces' gates
//   paint    each piece gets its nucleus's id
//
// Everything is an integer and every set's root is its first pixel, so neither the thread count nor
// the order of the unions shows in the result.
#include "cpu/label.h"

#include <algorithm>
#include <vector>

#include "cpu/label_resolve.h"
#include "cpu/label_scan.h"
#include "cpu/parallel.h"

namespace nucleiseg::cpu {
namespace {

// A strip's labels (256 KiB) stay in the second-level cache during the scan, which goes over them
// three times.
constexpr int64_t kStripPixels = 1 << 16;

struct Nucleus {
  int32_t area = 0;
  uint8_t peak = 0;
};

// Numbers the nuclei in raster order of their first pixels, writes the number into their pieces and
// returns what each number is.
std::vector<Nucleus> number_nuclei(std::vector<Strip>& strips, Forest forest) {
  std::vector<Nucleus> nuclei;
  for (Strip& strip : strips) {
    for (Piece& piece : strip.pieces) {
      piece.nucleus = number_set(piece.nucleus, nuclei.size(), forest);
      const auto number = static_cast<size_t>(piece.nucleus);
      if (number == nuclei.size()) nuclei.emplace_back();
      nuclei[number].area += piece.length;
      nuclei[number].peak = std::max(nuclei[number].peak, piece.peak);
    }
  }
  return nuclei;
}

// Gives ids: 1, 2, ... to those that are large and high enough, 0 to the others.
std::vector<int32_t> ids_of(const std::vector<Nucleus>& nuclei, const LabelRule& rule,
                            int32_t& count) {
  std::vector<int32_t> ids;
  ids.reserve(nuclei.size());
  count = 0;
  for (const Nucleus& nucleus : nuclei) {
    const bool kept = nucleus.area >= rule.min_area && nucleus.peak >= rule.min_peak;
    ids.push_back(kept ? ++count : 0);
  }
  return ids;
}

std::vector<Strip> make_strips(const ImageView& maps) {
  const int64_t count = std::max<int64_t>(1, maps.height * maps.width / kStripPixels);
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

int32_t label(const ImageView& maps, const LabelRule& rule, int32_t* labels, int threads) {
  const auto width = static_cast<int32_t>(maps.width);
  const Forest forest(labels);
  std::vector<Strip> strips = make_strips(maps);
  const auto each_strip = [&](auto&& fn) {
    parallel_for(static_cast<int64_t>(strips.size()), 1, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) fn(strips[static_cast<size_t>(i)]);
    });
  };
  each_strip([&](Strip& strip) { scan_strip(maps, rule, forest, strip); });
  close_zones(strips, forest);
  drop_small_cores(strips, rule.min_core, forest);
  each_strip([&](Strip& strip) { resolve_strip(width, forest, strip); });
  close_coreless(strips, width, forest);
  each_strip([&](Strip& strip) { find_gates(maps, forest, strip); });
  join_nuclei(maps, forest, strips);
  int32_t count = 0;
  const std::vector<int32_t> ids = ids_of(number_nuclei(strips, forest), rule, count);
  each_strip([&](const Strip& strip) {
    for (const Piece& piece : strip.pieces) {
      std::fill_n(labels + piece.start, piece.length, ids[static_cast<size_t>(piece.nucleus)]);
    }
  });
  return count;
}

}  // namespace nucleiseg::cpu
