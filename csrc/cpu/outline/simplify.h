// Fewer points for a closed ring.
#pragma once

#include <vector>

#include "cpu/outline/outline.h"

namespace nucleiseg::cpu {

// Drops corners that lie within `tolerance` pixels of what remains, by Douglas and Peucker's method
// ("Algorithms for the reduction of the number of points required to represent a digitized line or
// its caricature", Cartographica 10(2), 1973, doi:10.3138/FM57-6770-U75U-7727). The first corner
// stays, and so do at least three that are not on one line; rings of four corners stay whole.
std::vector<Corner> simplify(const std::vector<Corner>& ring, double tolerance);

// Does the ring neither cross nor touch itself? Segments are compared where their rows overlap.
bool is_simple(const std::vector<Corner>& ring);

}  // namespace nucleiseg::cpu
