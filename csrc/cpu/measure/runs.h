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

// Calls fn(id, begin, end) for each run of equal ids that are not 0.
template <class Function>
void each_run(const int32_t* ids, int64_t width, Function&& fn) {
  for (int64_t begin = 0; begin < width;) {
    int64_t end = begin + 1;
    while (end < width && ids[end] == ids[begin]) ++end;
    if (ids[begin] != 0) fn(ids[begin], static_cast<int32_t>(begin), static_cast<int32_t>(end));
    begin = end;
  }
}

Groups<NucleusRun> nucleus_runs(const LabelView& labels, int32_t count, int threads);

// Background pixels within `reach` pixels, by chessboard distance, of a nucleus; each belongs to
// the nearest, to the lowest id among equals.
Groups<LabelRun> ring_runs(const LabelView& labels, int32_t count, int64_t reach, int threads);

}  // namespace nucleiseg::cpu
