// Runs of a label's pixels in a row, and of those in the ring around it.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/measure/labels.h"
#include "kernels/measure.h"

namespace nucleiseg::cpu {

struct LabelRun {
  int32_t label;
  int32_t row;
  int32_t begin;
  int32_t end;
};

struct NucleusRun : LabelRun {
  kernels::Crossings crossings;
};

Groups<NucleusRun> nucleus_runs(const LabelView& labels, int32_t count, int threads);

// Background pixels within `reach` pixels, by chessboard distance, of a nucleus; each belongs to
// the nearest, to the lowest id among equals.
Groups<LabelRun> ring_runs(const LabelView& labels, int32_t count, int64_t reach, int threads);

}  // namespace nucleiseg::cpu
