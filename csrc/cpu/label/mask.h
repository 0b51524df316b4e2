// The loop over the maps for csrc/kernels/mask.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/image.h"
#include "cpu/simd/rows.h"
#include "threads/parallel.h"

namespace nucleiseg::cpu {

// Writes (height, width) bytes, 1 where nucleus, in rows `row_stride` bytes apart.
inline void mask(const ImageView& maps, uint8_t threshold, uint8_t* out, std::ptrdiff_t row_stride,
                 int threads) {
  const Rows& table = rows();
  parallel_for(maps.height, rows_per_thread(maps.values_per_row()), threads,
               [&](int64_t begin, int64_t end) {
                 std::vector<uint8_t> scratch;
                 for (int64_t row = begin; row < end; ++row) {
                   table.mask(row_values<uint8_t>(maps, row, scratch),
                              static_cast<size_t>(maps.width), threshold, out + row * row_stride);
                 }
               });
}

}  // namespace nucleiseg::cpu
