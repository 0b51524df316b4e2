// With AMX: 16 pixels by 16 channels by up to 64 bytes, a product of tiles, in one instruction.
//
// Sums of 32 pixels and two blocks of channels stay in four tiles, and each tile of values or
// weights that is loaded is used twice. Where the columns of a segment lie side by side without
// gaps, so do their weights, and the segment is one column. Products of bytes are so fast here that
// Winograd's convolution, of 16 bits, would be slower. Includes no part of the C++ library that
// holds inline functions, as rows.cpp.
#include "cpu/simd/vectors_512.h"

namespace nucleiseg::cpu::amx {
namespace {

constexpr int kRows = 16;  // of a tile, and steps of a tile of weights
constexpr int kRowBytes = 64;
static_assert(kRowBytes == kWeightBytes);

// Tiles: sums of two groups of pixels and two blocks, two of values, two of weights.
constexpr int kTiles = 8;
constexpr int kFirstValues = 4;
constexpr int kFirstWeights = 6;

// What LDTILECFG reads (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1,
// 18.3).
struct Configuration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int row_count, int bytes) {
    rows[tile] = static_cast<uint8_t>(row_count);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};
static_assert(sizeof(Configuration) == 64);

// `pixels` of a group, whose columns are read in pieces of `steps`.
void configure(int pixels, int steps) {
  Configuration tiles;
  for (int i = 0; i < kFirstValues; ++i) tiles.set(i, pixels, kRowBytes);
  for (int i = kFirstValues; i < kFirstWeights; ++i) tiles.set(i, pixels, steps * kProducts);
  for (int i = kFirstWeights; i < kTiles; ++i) tiles.set(i, steps, kRowBytes);
  // GCC's intrinsic does not tell that the whole structure is read.
  asm volatile("ldtilecfg %0" ::"m"(tiles));
}

// A row's columns as tiles see them.
struct Columns {
  int count;   // of a segment
  int pieces;  // of a column, of equal size: a configuration holds for all of a row
  int steps;   // of a piece
  int group;   // pixels

  explicit Columns(const RowOfPixels& row) {
    const bool joined = row.column_stride == row.steps * kProducts;
    count = joined ? 1 : row.taps;
    const int all = joined ? row.taps * row.steps : row.steps;
    pieces = (all + kRows - 1) / kRows;
    while (all % pieces != 0) ++pieces;
    steps = all / pieces;
    group = row.width < kRows ? row.width : kRows;
  }
};

// Sums that have left the tiles, and where they go.
struct Sums {
  __m512i of[2][2][kRows][1];  // [group][block][pixel]
  int groups = 0;
  int blocks = 0;
  int block = 0;
  uint8_t* out = nullptr;  // of the first pixel
};

// Rounds and writes them.
inline void write(const RowOfPixels& row, const Columns& columns, const Sums& sums) {
  for (int g = 0; g < sums.groups; ++g) {
    for (int b = 0; b < sums.blocks; ++b) {
      const auto& of = sums.of[g][b];
      const int channel = (sums.block + b) * kLanes;
      const __m512i begin = _mm512_loadu_si512(row.begin + channel);
      uint8_t* out = sums.out + g * columns.group * row.out_stride + b * kLanes;
      int p = 0;
      for (; p + 4 <= columns.group; p += 4) {
        __m512i four[4][1];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) four[i][0] = _mm512_add_epi32(of[p + i][0], begin);
        put<4, 1>(row, four, 0, channel, out + p * row.out_stride);
      }
      for (; p < columns.group; ++p) {
        const __m512i one[1][1] = {{_mm512_add_epi32(of[p][0], begin)}};
        put<1, 1>(row, one, 0, channel, out + p * row.out_stride);
      }
    }
  }
}

// kGroups groups of pixels from `pixel` on, kBlocks blocks from `block` on. The sums before them
// are written while the tiles are multiplied.
template <int kGroups, int kBlocks>
void product(const RowOfPixels& row, const Columns& columns, int pixel, int block, Sums& sums) {
  const int64_t pixel_stride = int64_t{row.advance} * row.column_stride;
  const int64_t group_stride = columns.group * pixel_stride;
  const int64_t weight_stride = int64_t{row.blocks_of_weight} * kWeightBytes;
  _tile_zero(0);
  if (kBlocks == 2) _tile_zero(1);
  if (kGroups == 2) _tile_zero(2);
  if (kGroups == 2 && kBlocks == 2) _tile_zero(3);
  const int8_t* weights = row.weights + block * kWeightBytes;
  for (int segment = 0; segment < row.segment_count; ++segment) {
    for (int column = 0; column < columns.count; ++column) {
      const uint8_t* values =
          row.segments[segment] + pixel * pixel_stride + column * row.column_stride;
      for (int piece = 0; piece < columns.pieces; ++piece) {
        _tile_loadd(6, weights, weight_stride);
        if (kBlocks == 2) _tile_loadd(7, weights + kWeightBytes, weight_stride);
        _tile_loadd(4, values, pixel_stride);
        _tile_dpbusd(0, 4, 6);
        if (kBlocks == 2) _tile_dpbusd(1, 4, 7);
        if (kGroups == 2) {
          _tile_loadd(5, values + group_stride, pixel_stride);
          _tile_dpbusd(2, 5, 6);
          if (kBlocks == 2) _tile_dpbusd(3, 5, 7);
        }
        values += columns.steps * kProducts;
        weights += columns.steps * weight_stride;
      }
    }
  }
  write(row, columns, sums);
  _tile_stored(0, sums.of[0][0], kRowBytes);
  if (kBlocks == 2) _tile_stored(1, sums.of[0][1], kRowBytes);
  if (kGroups == 2) _tile_stored(2, sums.of[1][0], kRowBytes);
  if (kGroups == 2 && kBlocks == 2) _tile_stored(3, sums.of[1][1], kRowBytes);
  sums.groups = kGroups;
  sums.blocks = kBlocks;
  sums.block = block;
  sums.out = row.out + pixel * row.out_stride + block * kLanes;
}

// The last group may begin again before the end of the one before it: it writes the same bytes.
template <int kBlocks>
void blocks_of_row(const RowOfPixels& row, const Columns& columns, int block, Sums& sums) {
  int pixel = 0;
  for (; pixel + 2 * columns.group <= row.width; pixel += 2 * columns.group) {
    product<2, kBlocks>(row, columns, pixel, block, sums);
  }
  for (; pixel < row.width; pixel += columns.group) {
    const int last = row.width - columns.group;
    product<1, kBlocks>(row, columns, pixel < last ? pixel : last, block, sums);
  }
}

}  // namespace

void convolve(const RowOfPixels& row) {
  const Columns columns(row);
  configure(columns.group, columns.steps);
  Sums sums;
  int block = 0;
  for (; block + 2 <= row.blocks; block += 2) blocks_of_row<2>(row, columns, block, sums);
  if (block < row.blocks) blocks_of_row<1>(row, columns, block, sums);
  write(row, columns, sums);
  _tile_release();
}

int64_t exercise(int64_t times) {
  configure(kRows, kRows);
  _tile_zero(4);
  _tile_zero(6);
  for (int64_t i = 0; i < times; ++i) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 6);
    _tile_dpbusd(2, 4, 6);
    _tile_dpbusd(3, 4, 6);
  }
  _tile_release();
  return times * kFirstValues * kRows * kLanes * kRowBytes;
}

}  // namespace nucleiseg::cpu::amx
