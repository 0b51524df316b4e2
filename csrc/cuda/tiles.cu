#include <algorithm>
#include <cstring>

#include "cuda/pack.h"
#include "cuda/tiles.h"
#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

using kernels::kCellBytes;
using kernels::kCellSide;
using kernels::kImageChannels;
using kernels::kMapChannels;

constexpr int64_t kHalfCell = kCellBytes / kCellSide;  // its pixels of one row

// Tables of tiles are passed by value: a kernel takes 4 KiB of arguments on every device, and
// nothing has to be copied or kept.
constexpr size_t kCorners = 128;
constexpr size_t kPlacements = 64;

struct Corners {
  Point first[kCorners];  // in the first period of the reflection
};

struct Placement {
  Point origin;
  Rectangle core;
};

struct Placements {
  Placement tile[kPlacements];
};

// `pixels` neighbours of one row of a tile.
struct Group {
  int64_t tile;
  int64_t row;
  int64_t column;
};

__device__ __forceinline__ Group group_of(int64_t item, int64_t height, int64_t groups,
                                          int pixels) {
  const int64_t line = item / groups;
  return {line / height, line % height, item % groups * pixels};
}

// Calls take(pixel, channel, byte) for each value of the group.
template <int pixels, class Take>
__device__ __forceinline__ void read_group(const Plane<const uint8_t>& image, const Point& first,
                                           const Group& group, Take&& take) {
  const int64_t row = kernels::reflect(first.row + group.row, image.height);
  const uint8_t* const values = image.data + row * image.row_stride;
  const int64_t begin = first.column + group.column;
  if (begin + pixels <= image.width) {
    const uint8_t* const source = values + begin * kImageChannels;
    NUCLEISEG_UNROLL for (int i = 0; i < pixels * kImageChannels; ++i) {
      take(i / kImageChannels, i % kImageChannels, source[i]);
    }
    return;
  }
  NUCLEISEG_UNROLL for (int i = 0; i < pixels; ++i) {
    const uint8_t* const pixel = values + kernels::reflect(begin + i, image.width) * kImageChannels;
    NUCLEISEG_UNROLL for (int c = 0; c < kImageChannels; ++c) take(i, c, pixel[c]);
  }
}

// (N, height, width, 3) bytes; `pixels` is 16, whose bytes are three wide stores, or 1.
template <int pixels>
__global__ void gather_tiles(Plane<const uint8_t> image, Corners corners, int64_t items,
                             int64_t height, int64_t groups, uint8_t* out) {
  const int64_t i = item();
  if (i >= items) return;
  const Group group = group_of(i, height, groups, pixels);
  uint8_t* const target = out + i * pixels * kImageChannels;
  if constexpr (pixels == 1) {
    read_group<1>(image, corners.first[group.tile], group,
                  [&](int, int64_t channel, uint8_t value) { target[channel] = value; });
  } else {
    Pack<uint8_t> found[kImageChannels];
    read_group<pixels>(image, corners.first[group.tile], group,
                       [&](int64_t pixel, int64_t channel, uint8_t value) {
                         const int64_t at = pixel * kImageChannels + channel;
                         found[at / kWide].values[at % kWide] = value;
                       });
    NUCLEISEG_UNROLL for (int c = 0; c < kImageChannels; ++c) found[c].store(target + c * kWide);
  }
}

// `count` cells, one beside the other, of which the pixels inside the core are copied.
template <int count>
__device__ __forceinline__ void place_cells(const Pack<uint8_t>& bytes, const Rectangle& core,
                                            int64_t row, int64_t column,
                                            const Plane<uint8_t>& out) {
  constexpr int columns = count * kCellSide;
  NUCLEISEG_UNROLL for (int r = 0; r < kCellSide; ++r) {
    if (row + r < core.row_begin || row + r >= core.row_end) continue;
    uint8_t* const target = out.data + (row + r) * out.row_stride + column * kMapChannels;
    const bool whole = column >= core.column_begin && column + columns <= core.column_end;
    if (count == 2 && whole && reinterpret_cast<uintptr_t>(target) % sizeof(uint2) == 0) {
      uint2 pixels;
      memcpy(&pixels.x, bytes.values + r * kHalfCell, kHalfCell);
      memcpy(&pixels.y, bytes.values + r * kHalfCell + kCellBytes, kHalfCell);
      *reinterpret_cast<uint2*>(target) = pixels;
      continue;
    }
    NUCLEISEG_UNROLL for (int c = 0; c < columns; ++c) {
      if (column + c < core.column_begin || column + c >= core.column_end) continue;
      const int64_t at = kernels::byte_in_cells(r, c);
      target[c * kMapChannels] = bytes.values[at];
      target[c * kMapChannels + 1] = bytes.values[at + 1];
    }
  }
}

template <int count>
__global__ void spread_cells(Cells cells, Placements placements, int64_t items,
                             Plane<uint8_t> out) {
  const int64_t i = item();
  if (i >= items) return;
  const Group group = group_of(i, cells.height, cells.width / count, count);
  const Placement& tile = placements.tile[group.tile];
  const int64_t row = tile.origin.row + group.row * kCellSide;
  const int64_t column = tile.origin.column + group.column * kCellSide;
  if (row + kCellSide <= tile.core.row_begin || row >= tile.core.row_end ||
      column + count * kCellSide <= tile.core.column_begin || column >= tile.core.column_end) {
    return;
  }
  const uint8_t* const source = cells.data + i * count * kCellBytes;
  Pack<uint8_t> bytes;
  if constexpr (count == 2) {
    bytes = Pack<uint8_t>::load(source);
  } else {
    NUCLEISEG_UNROLL for (int b = 0; b < kCellBytes; ++b) bytes.values[b] = source[b];
  }
  place_cells<count>(bytes, tile.core, row, column, out);
}

struct Request {
  Plane<const uint8_t> image;
  const std::vector<Point>& origins;
  int64_t height;
  int64_t width;
  cudaStream_t stream;
};

// Calls launch(corners, tiles, first) for as many tiles as one launch takes.
template <class Launch>
void for_each_table(const Request& request, Launch&& launch) {
  const int64_t row_period = kernels::reflect_period(request.image.height);
  const int64_t column_period = kernels::reflect_period(request.image.width);
  for (size_t first = 0; first < request.origins.size(); first += kCorners) {
    const size_t tiles = std::min(kCorners, request.origins.size() - first);
    Corners corners = {};
    for (size_t i = 0; i < tiles; ++i) {
      // Reduced to one period before the sum, which no origin can then overflow.
      corners.first[i] = {kernels::phase(request.origins[first + i].row, row_period),
                          kernels::phase(request.origins[first + i].column, column_period)};
    }
    launch(corners, static_cast<int64_t>(tiles), static_cast<int64_t>(first));
  }
}

template <int pixels>
void gather_in(const Request& request, uint8_t* out) {
  const int64_t groups = request.width / pixels;
  for_each_table(request, [&](const Corners& corners, int64_t tiles, int64_t first) {
    const int64_t items = tiles * request.height * groups;
    const int64_t before = first * request.height * request.width * kImageChannels;
    launch_items(gather_tiles<pixels>, items, request.stream, request.image, corners, items,
                 request.height, groups, out + before);
  });
}

}  // namespace

void gather(Plane<const uint8_t> image, const std::vector<Point>& origins, int64_t height,
            int64_t width, uint8_t* out, cudaStream_t stream) {
  const Request request = {image, origins, height, width, stream};
  if (width % kWide == 0 && is_wide(out)) {
    gather_in<kWide>(request, out);
  } else {
    gather_in<1>(request, out);
  }
}

void assemble(const Cells& cells, const std::vector<Point>& origins,
              const std::vector<Rectangle>& cores, Plane<uint8_t> out, cudaStream_t stream) {
  const int count = cells.width % 2 == 0 && is_wide(cells.data) ? 2 : 1;
  for (size_t first = 0; first < origins.size(); first += kPlacements) {
    const size_t tiles = std::min(kPlacements, origins.size() - first);
    Placements placements = {};
    for (size_t i = 0; i < tiles; ++i) {
      placements.tile[i] = {origins[first + i], cores[first + i]};
    }
    Cells part = cells;
    part.data += static_cast<int64_t>(first) * cells.height * cells.width * kCellBytes;
    const int64_t items = static_cast<int64_t>(tiles) * cells.height * (cells.width / count);
    launch_items(count == 2 ? spread_cells<2> : spread_cells<1>, items, stream, part, placements,
                 items, out);
  }
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
