// Nuclei from the network's two maps: the loops for csrc/kernels/label.h.
#pragma once

#include <cstdint>

#include "cpu/image.h"

namespace nucleiseg::cpu {

struct LabelRule {
  uint8_t nucleus_threshold;
  uint8_t core_threshold;
  int64_t min_core;  // pixels; cores with fewer are none
  int64_t min_area;  // pixels; nuclei with fewer are dropped
};

// Writes (height, width) ids to `labels`, which comes filled with 0, and returns how many there
// are.
int32_t label(const ImageView& maps, const LabelRule& rule, int32_t* labels, int threads);

}  // namespace nucleiseg::cpu
