// Passes between the pieces of two rows, one below the other.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/label/basins.h"
#include "kernels/label.h"

namespace nucleiseg::cpu {

// Calls fn(piece, other) for each piece of a row and each that it touches in the row below.
template <class Function>
void each_below(const Piece* begin, const Piece* end, const Piece* below, const Piece* below_end,
                int32_t width, Function&& fn) {
  for (const Piece* piece = begin; piece != end; ++piece) {
    while (below != below_end && below->end() - width < piece->start) ++below;
    for (const Piece* other = below; other != below_end && other->start - width <= piece->end();
         ++other) {
      fn(*piece, *other);
    }
  }
}

// The greatest key of the passes between two such pieces. `above` and `below` hold the heights of
// the two rows; `first` is the first pixel of the one above.
inline uint64_t pass_below(const Piece& piece, const Piece& other, const int16_t* above,
                           const int16_t* below, int32_t first, int32_t width) {
  const int32_t begin = piece.start - first;
  const int32_t end = piece.end() - first;
  const int32_t other_begin = other.start - first - width;
  const int32_t other_end = other.end() - first - width;
  uint64_t best = 0;
  for (int32_t column = std::max(begin, other_begin - 1); column < std::min(end, other_end + 1);
       ++column) {
    for (int32_t step = -1; step <= 1; ++step) {
      const int32_t there = column + step;
      if (there < other_begin || there >= other_end) continue;
      best = std::max(best, kernels::pass_key(above[column], below[there], first + column,
                                              kernels::kSouth + step));
    }
  }
  return best;
}

// That from a piece to the one that begins where it ends.
inline uint64_t pass_beside(const Piece& piece, const int16_t* heights, int32_t first) {
  const int32_t last = piece.end() - 1;
  return kernels::pass_key(heights[last - first], heights[last + 1 - first], last, kernels::kEast);
}

}  // namespace nucleiseg::cpu
