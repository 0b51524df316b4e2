#include "cpu/tiles/tiles.h"

#include <algorithm>
#include <cstring>

#include "kernels/tiles.h"
#include "threads/parallel.h"

namespace nucleiseg::cpu {
namespace {

// Writes `width` pixels of an endless reflected row, from column `first` of the first period on.
void reflect_row(const uint8_t* source, int64_t size, int64_t first, int64_t width, uint8_t* out) {
  int64_t done = 0;
  while (done < width) {
    const int64_t column = kernels::phase(first + done, kernels::reflect_period(size));
    int64_t count = 1;
    if (column < size) {
      count = std::min(size - column, width - done);
      std::memcpy(out + done * kImageChannels, source + column * kImageChannels,
                  static_cast<size_t>(count * kImageChannels));
    } else {
      std::memcpy(out + done * kImageChannels,
                  source + kernels::reflect(column, size) * kImageChannels, kImageChannels);
    }
    done += count;
  }
}

// Writes the maps of the pixels columns begin..end of one pixel row of a tile.
void copy_row(const uint8_t* cells, int64_t row, int64_t begin, int64_t end, uint8_t* out) {
  constexpr auto pixel = static_cast<size_t>(kernels::kMapChannels);
  if (begin < end && begin % kCellSide != 0) {
    std::memcpy(out, cells + kernels::byte_in_cells(row, begin), pixel);
    out += kMapChannels;
    ++begin;
  }
  const int64_t pairs = (end - begin) / kCellSide;
  const uint8_t* source = cells + kernels::byte_in_cells(row, begin);
  for (int64_t i = 0; i < pairs; ++i) {
    std::memcpy(out + i * kCellSide * kMapChannels, source + i * kCellBytes, kCellSide * pixel);
  }
  if ((end - begin) % kCellSide != 0) {
    std::memcpy(out + pairs * kCellSide * kMapChannels, source + pairs * kCellBytes, pixel);
  }
}

}  // namespace

void gather(Plane<const uint8_t> image, const std::vector<Point>& origins, int64_t height,
            int64_t width, uint8_t* out, int threads) {
  const int64_t row_bytes = width * kImageChannels;
  const int64_t row_period = kernels::reflect_period(image.height);
  const int64_t column_period = kernels::reflect_period(image.width);
  const auto tiles = static_cast<int64_t>(origins.size());
  parallel_for(
      tiles * height, rows_per_thread(row_bytes), threads, [&](int64_t begin, int64_t end) {
        for (int64_t line = begin; line < end; ++line) {
          const Point origin = origins[static_cast<size_t>(line / height)];
          // Reduced to one period before the sum, which no origin can then overflow.
          const int64_t row = kernels::reflect(
              kernels::phase(origin.row, row_period) + line % height, image.height);
          reflect_row(image.data + row * image.row_stride, image.width,
                      kernels::phase(origin.column, column_period), width, out + line * row_bytes);
        }
      });
}

void assemble(const std::vector<Cells>& tiles, const std::vector<Point>& origins,
              const std::vector<Rectangle>& cores, Plane<uint8_t> out, int threads) {
  // Threads own bands of output rows, not tiles: the later tile then wins for any thread count.
  parallel_for(out.height, rows_per_thread(out.width * kMapChannels), threads,
               [&](int64_t first, int64_t last) {
                 for (size_t tile = 0; tile < tiles.size(); ++tile) {
                   const Rectangle& core = cores[tile];
                   const Point& origin = origins[tile];
                   const int64_t end = std::min(core.row_end, last);
                   for (int64_t row = std::max(core.row_begin, first); row < end; ++row) {
                     const int64_t inside = row - origin.row;
                     copy_row(tiles[tile].data + inside / kCellSide * tiles[tile].row_stride,
                              inside, core.column_begin - origin.column,
                              core.column_end - origin.column,
                              out.data + row * out.row_stride + core.column_begin * kMapChannels);
                   }
                 }
               });
}

}  // namespace nucleiseg::cpu
