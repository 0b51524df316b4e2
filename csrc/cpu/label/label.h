// Nuclei from the network's two maps: the loops for csrc/kernels/label.h.
#pragma once

#include <cstdint>

#include "cpu/image.h"
#include "kernels/label.h"

namespace nucleiseg::cpu {

using kernels::LabelRule;

// Writes (height, width) ids to `labels`, which comes filled with 0, and returns how many there
// are.
int32_t label(const ImageView& maps, const LabelRule& rule, int32_t* labels, int threads);

}  // namespace nucleiseg::cpu
