// What is known of a strip of rows while its nuclei are labelled: csrc/cpu/label/label.cpp.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/merge.h"

namespace nucleiseg::cpu {

// Pixels side by side in a row that reach one peak.
struct Piece {
  int32_t start;
  int32_t length;
  int32_t basin;  // of the strip

  int32_t end() const { return start + length; }
};

constexpr int32_t kNowhere = -1;

// The pixels of a strip that reach one peak in it, or leave it by one pixel.
struct Basin {
  int32_t area = 0;
  int32_t peak = 0;           // the highest here, in sixteenths of a distance
  int32_t outlet = kNowhere;  // the first pixel outside of the strip
  uint64_t probability = 0;   // summed over its pixels, if the rule asks for it
};

// The way from basin `from` to basin `to`: see kernels::pass_key.
struct Pass {
  uint64_t key;
  int32_t from;
  int32_t to;
};

struct Strip {
  int64_t row_begin;
  int64_t row_end;
  std::vector<Piece> pieces;              // in raster order
  std::vector<Basin> basins;              // in raster order of their first pixels
  std::vector<Pass> passes;               // those that may join basins; some pairs have several
  std::vector<kernels::Moments> moments;  // of the basins, if the rule merges any
  // What the strips above and below see: the heights of the outer rows, and which pieces are there.
  std::vector<int16_t> first_heights;
  std::vector<int16_t> last_heights;
  int32_t first_row_end = 0;
  int32_t last_row_begin = 0;
};

}  // namespace nucleiseg::cpu
