// Winograd's convolution with AVX2, or with the 16-bit products of AVX-VNNI or AVX-512 VNNI.
//
// Compiled once for each, into a namespace of that name. Includes no part of the C++ library that
// holds inline functions, as rows.cpp.
#include "cpu/simd/winograd.h"

#if defined(__AVX512BW__)
#include "cpu/simd/vectors_512.h"
#else
#include "cpu/simd/vectors_256.h"
#endif

#ifndef NUCLEISEG_LEVEL
#error "NUCLEISEG_LEVEL names the instruction set that this file is compiled for"
#endif

namespace nucleiseg::cpu::NUCLEISEG_LEVEL {
namespace {

using Shorts = int16_t __attribute__((vector_size(32)));
using Words = uint32_t __attribute__((vector_size(sizeof(Vector))));  // which may overflow
using Integers = int32_t __attribute__((vector_size(sizeof(Vector))));

constexpr int kWords = sizeof(Words) / sizeof(uint32_t);

constexpr int kChannels = 16;  // of a register of Shorts
constexpr uint32_t kInverseOfNine = 954437177;
static_assert(kInverseOfNine * 9u == 1);
constexpr int kShift = 6;  // 64

// The transform of six inputs, from rows or columns.
inline void transform(const Shorts* d, Shorts* v) {
  const Shorts a = d[4] - (d[2] << 2);
  const Shorts b = d[3] - (d[1] << 2);
  const Shorts c = d[4] - d[2];
  const Shorts e = (d[3] - d[1]) << 1;
  v[0] = ((d[0] - d[2]) << 2) + c;
  v[1] = a + b;
  v[2] = a - b;
  v[3] = c + e;
  v[4] = c - e;
  v[5] = d[5] - d[3] - (e << 1);
}

// The transform back, of six sums to four.
inline void transform_back(const Words* m, Words* y) {
  const Words plus = m[1] + m[2];
  const Words minus = m[1] - m[2];
  const Words far_plus = m[3] + m[4];
  const Words far_minus = m[3] - m[4];
  y[0] = m[0] + plus + far_plus;
  y[1] = minus + (far_minus << 1);
  y[2] = plus + (far_plus << 2);
  y[3] = minus + (far_minus << 3) + (m[5] << 1);
}

inline Shorts load_pixel(const uint8_t* from, Shorts zero) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return reinterpret_cast<Shorts>(_mm256_cvtepu8_epi16(bytes)) - zero;
}

// Transforms kChannels channels of some tiles' inputs. `rows` are at the first tile's first column.
void transform_inputs(const uint8_t* const* rows, int64_t stride, uint8_t zero_byte, int tiles,
                      int64_t channels, int16_t* values) {
  const Shorts zero = Shorts{} + zero_byte;
  Shorts columns[kChunk * kStrip + 2][kPatch];
  for (int column = 0; column < tiles * kStrip + 2; ++column) {
    Shorts pixels[kPatch];
#pragma GCC unroll 6
    for (int i = 0; i < kPatch; ++i) pixels[i] = load_pixel(rows[i] + column * stride, zero);
    transform(pixels, columns[column]);
  }
  for (int tile = 0; tile < tiles; ++tile) {
#pragma GCC unroll 6
    for (int i = 0; i < kPatch; ++i) {
      Shorts across[kPatch];
      Shorts found[kPatch];
#pragma GCC unroll 6
      for (int j = 0; j < kPatch; ++j) across[j] = columns[tile * kStrip + j][i];
      transform(across, found);
#pragma GCC unroll 6
      for (int j = 0; j < kPatch; ++j) {
        int16_t* to = values + ((i * kPatch + j) * kChunk + tile) * channels;
        __builtin_memcpy(to, &found[j], sizeof(Shorts));
      }
    }
  }
}

// sums += two 16-bit numbers of each of `values` times two of `weights`.
inline void add_pairs(Vector& sums, Vector values, Vector weights) {
#if defined(__AVX512VNNI__)
  asm("vpdpwssd %2, %1, %0" : "+v"(sums) : "v"(values), "v"(weights));
#elif defined(__AVXVNNI__)
  asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sums) : "x"(values), "x"(weights));
#else
  sums = _mm256_add_epi32(sums, _mm256_madd_epi16(values, weights));
#endif
}

// The sums over all channels of kCount tiles, for one place and one block.
template <int kCount>
void multiply(const int16_t* values, int channels, const int8_t* weights, uint32_t* out) {
  Vector sums[kCount][kRegisters];
#pragma GCC unroll 12
  for (int t = 0; t < kCount; ++t) {
#pragma GCC unroll 2
    for (int i = 0; i < kRegisters; ++i) sums[t][i] = Vector{};
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(values);
  const int64_t stride = int64_t{channels} * static_cast<int64_t>(sizeof(int16_t));
  for (int channel = 0; channel < channels; channel += kPair) {
    Vector weight[kRegisters];
#pragma GCC unroll 2
    for (int i = 0; i < kRegisters; ++i) weight[i] = load(weights + i * sizeof(Vector));
#pragma GCC unroll 12
    for (int t = 0; t < kCount; ++t) {
      const Vector pair = broadcast(bytes + t * stride);
#pragma GCC unroll 2
      for (int i = 0; i < kRegisters; ++i) add_pairs(sums[t][i], pair, weight[i]);
    }
    bytes += kPair * sizeof(int16_t);
    weights += kWeightBytes;
  }
#pragma GCC unroll 12
  for (int t = 0; t < kCount; ++t) {
#pragma GCC unroll 2
    for (int i = 0; i < kRegisters; ++i) store(sums[t][i], out + t * kLanes + i * kWords);
  }
}

// As many tiles as registers hold sums of.
#if defined(__AVX512BW__)
constexpr int kTogether = 12;
#elif defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr int kTogether = 6;
#else
constexpr int kTogether = 4;
#endif

template <int kCount>
bool multiply_some(const int16_t* values, int channels, const int8_t* weights, uint32_t* out,
                   int& tile, int tiles) {
  // The last tiles are shared out evenly: eight are twice four.
  const int left = tiles - tile;
  const bool uneven = kCount == 6 && (left == 7 || left == 8);
  if (kCount > kTogether || left < kCount || uneven) return false;
  multiply<kCount>(values + tile * channels, channels, weights, out + tile * kLanes);
  tile += kCount;
  return true;
}

void multiply_all(const int16_t* values, int channels, int tiles, const int8_t* weights,
                  uint32_t* out) {
  int tile = 0;
  while (multiply_some<12>(values, channels, weights, out, tile, tiles) ||
         multiply_some<6>(values, channels, weights, out, tile, tiles) ||
         multiply_some<4>(values, channels, weights, out, tile, tiles) ||
         multiply_some<2>(values, channels, weights, out, tile, tiles) ||
         multiply_some<1>(values, channels, weights, out, tile, tiles)) {
  }
}

// Transforms a register of each of one tile's sums back: [row][column][index] of `out`.
inline void transform_sums(const uint32_t* sums, int index, Vector (*out)[kStrip][kRegisters]) {
  Words rows[kPatch][kStrip];
#pragma GCC unroll 6
  for (int j = 0; j < kPatch; ++j) {
    Words column[kPatch];
#pragma GCC unroll 6
    for (int i = 0; i < kPatch; ++i) {
      const uint32_t* from = sums + (i * kPatch + j) * kChunk * kLanes + index * kWords;
      __builtin_memcpy(&column[i], from, sizeof(Words));
    }
    transform_back(column, rows[j]);
  }
#pragma GCC unroll 4
  for (int row = 0; row < kStrip; ++row) {
    Words across[kPatch];
    Words found[kStrip];
#pragma GCC unroll 6
    for (int j = 0; j < kPatch; ++j) across[j] = rows[j][row];
    transform_back(across, found);
#pragma GCC unroll 4
    for (int column = 0; column < kStrip; ++column) {
      const auto scaled = reinterpret_cast<Integers>(found[column] * kInverseOfNine);
      out[row][column][index] = reinterpret_cast<Vector>(scaled >> kShift);
    }
  }
}

void finish(const TileStrip& strip, int block, int tile, const uint32_t* sums) {
  Vector found[kStrip][kStrip][kRegisters];
#pragma GCC unroll 2
  for (int i = 0; i < kRegisters; ++i) transform_sums(sums, i, found);
  const RowOfPixels& row = strip.rounding;
  uint8_t* out = row.out + int64_t{tile} * kStrip * row.out_stride + block * kLanes;
#pragma GCC unroll 4
  for (int i = 0; i < kStrip; ++i) {
    put_four(row, found[i], block * kLanes, out + i * strip.out_row);
  }
}

void chunk(const TileStrip& strip, int first, int tiles) {
  const int all = strip.sources * strip.channels;
  for (int source = 0; source < strip.sources; ++source) {
    for (int channel = 0; channel < strip.channels; channel += kChannels) {
      const uint8_t* rows[kPatch];
      for (int i = 0; i < kPatch; ++i) {
        rows[i] =
            strip.rows[source * kPatch + i] + channel + int64_t{first} * kStrip * strip.channels;
      }
      transform_inputs(rows, strip.channels, strip.zeros[source], tiles, all,
                       strip.values + source * strip.channels + channel);
    }
  }
  for (int block = 0; block < strip.blocks; ++block) {
    for (int place = 0; place < kPlaces; ++place) {
      const int64_t at = (int64_t{block} * kPlaces + place) * all * kLanes;
      multiply_all(strip.values + int64_t{place} * kChunk * all, all, tiles,
                   reinterpret_cast<const int8_t*>(strip.weights + at),
                   strip.sums + place * kChunk * kLanes);
    }
    for (int tile = 0; tile < tiles; ++tile) {
      finish(strip, block, first + tile, strip.sums + tile * kLanes);
    }
  }
}

}  // namespace

void convolve_strip(const TileStrip& strip) {
  for (int first = 0; first < strip.tiles; first += kChunk) {
    chunk(strip, first, strip.tiles - first < kChunk ? strip.tiles - first : kChunk);
  }
}

}  // namespace nucleiseg::cpu::NUCLEISEG_LEVEL
