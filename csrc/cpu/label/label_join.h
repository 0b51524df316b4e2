// The second of the steps in csrc/cpu/label/label.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/label/basins.h"
#include "cpu/label/label.h"
#include "kernels/label.h"

namespace nucleiseg::cpu {

struct Numbers {
  std::vector<size_t> first;  // of each strip: where its basins' ids begin
  std::vector<int32_t> ids;   // of each basin: its nucleus's, or 0
  int32_t count;
};

// Closes the seams between the strips, joins basins and numbers the nuclei. If `table` is given,
// the strips were scanned for passes of up to `table->prominence`, and it gets the nuclei.
Numbers join_basins(const std::vector<Strip>& strips, int64_t width, const kernels::LabelRule& rule,
                    NucleusTable* table = nullptr);

}  // namespace nucleiseg::cpu
