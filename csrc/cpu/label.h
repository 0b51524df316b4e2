// Nuclei from the network's two maps: the loops for csrc/kernels/label.h.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/image.h"
#include "kernels/label.h"

namespace nucleiseg::cpu {

using kernels::LabelRule;

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
// watershed with the prominence p would give: joins() is true for p wherever it is for less.
struct NucleusTable {
  uint8_t prominence;
  std::vector<Nucleus> nuclei = {};
};

// Writes (height, width) ids to `labels`, which comes filled with 0, and returns how many there
// are.
int32_t label(const ImageView& maps, const LabelRule& rule, int32_t* labels, int threads,
              NucleusTable* table = nullptr);

}  // namespace nucleiseg::cpu
