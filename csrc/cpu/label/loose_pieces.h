// Labels that are in one piece each.
#pragma once

#include <cstdint>

namespace nucleiseg::cpu {

// Keeps the largest piece of each label, the first in raster order among equals, pieces being
// connected by their 8 neighbours; numbers what is left 1..n in raster order of first pixels, and
// returns n.
int32_t drop_loose_pieces(int32_t* labels, int64_t height, int64_t width);

}  // namespace nucleiseg::cpu
