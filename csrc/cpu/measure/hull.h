// How many pixels a nucleus's convex hull has.
#pragma once

#include <cstdint>

#include "cpu/measure/runs.h"

namespace nucleiseg::cpu {

// The hull is that of the middles of the pixels' edges; counted are the pixels whose centres lie in
// it or on its edge. Exact, linear in the runs, which come in order of row.
int64_t hull_area(const NucleusRun* begin, const NucleusRun* end);

}  // namespace nucleiseg::cpu
