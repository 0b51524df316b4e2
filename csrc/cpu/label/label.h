// From the network's two maps to a mask, and to labels: one id for each nucleus, also where nuclei
// touch.
//
// A watershed on the smoothed centre distance by the drop-of-water principle (Cousty et al. 2009,
// doi:10.1109/TPAMI.2008.173): each pixel climbs to its highest neighbour, up to a maximum, and all
// that reach one maximum are its basin. Basins are then merged across their saddles, from the
// highest down, where the lower maximum stands out too little (prominence, or dynamics: Grimaud
// 1992, doi:10.1117/12.60650). csrc/kernels/label.h defines the step of one pixel; the plain form
// of the whole, to be read first, is label() in tests/cpp/reference.cpp. Here it is done in strips
// of rows, in parallel, and on runs of pixels instead of single ones: label.cpp lists the steps.
// Linear in the pixels, but for sorting the saddles that may merge basins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/image.h"
#include "kernels/label.h"

namespace nucleiseg::cpu {

using kernels::LabelRule;

// Writes (height, width) bytes, 1 where nucleus, in rows `row_stride` bytes apart.
void mask(const ImageView& maps, uint8_t threshold, uint8_t* out, std::ptrdiff_t row_stride,
          int threads);

// A nucleus as the watershed found it, whatever its area and peak. Heights are in sixteenths of a
// distance.
struct Nucleus {
  int32_t area;
  int32_t peak;
  int32_t prominence;  // peak above the saddle to a nucleus with a higher peak, see NucleusTable
  int32_t neighbour;   // the nucleus on the other side of that saddle
};

// All nuclei in raster order of their first pixels. A nucleus that stands out by `prominence`
// distances or more has just these as its own prominence, and itself as its neighbour.
//
// Joining each nucleus of less than p <= `prominence` to its neighbour gives the nuclei that a
// watershed with the prominence p would give: joins() is true for p wherever it is for less. That
// holds for rules that merge nothing else.
struct NucleusTable {
  uint8_t prominence;
  std::vector<Nucleus> nuclei = {};
};

// Writes (height, width) ids to `labels`, which comes filled with 0, and returns how many there
// are.
int32_t label(const ImageView& maps, const LabelRule& rule, int32_t* labels, int threads,
              NucleusTable* table = nullptr);

// Keeps the largest piece of each label, the first in raster order among equals, pieces being
// connected by their 8 neighbours; numbers what is left 1..n in raster order of first pixels, and
// returns n.
int32_t drop_loose_pieces(int32_t* labels, int64_t height, int64_t width);

}  // namespace nucleiseg::cpu
