// A layer of the integer network, its weights in the order in which the inner loop reads them.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "cpu/aligned.h"
#include "cpu/network/network.h"
#include "cpu/simd/winograd.h"
#include "kernels/network.h"

namespace nucleiseg::cpu {

constexpr int32_t kLowest = -128;  // of a signed level
constexpr int32_t kHighest = 127;
constexpr uint8_t kSignedZero = 128;  // added to the levels of a signed tensor
constexpr int kNone = -1;

enum class Kind { stem, convolution, grow, pool, cells };

// Channels as they are stored: whole blocks, of which the last may have some that are not used.
inline int stored(int64_t channels) {
  return static_cast<int>((channels + kernels::kLanes - 1) / kernels::kLanes * kernels::kLanes);
}

// The byte that stands for zero.
inline uint8_t zero_of(bool is_signed) { return is_signed ? kSignedZero : uint8_t{0}; }

struct Network::Layer {
  Kind kind;
  std::vector<int> sources;
  int target;
  RowOfPixels shape{};  // of a row of all blocks, without what it reads and writes
  AlignedBytes weights;
  AlignedBytes strip_weights;  // as `TileStrip` has them, where strips of rows are done together
  std::vector<int32_t> begin;
  std::vector<int32_t> shifted_begin;
  std::vector<float> factors;
  std::vector<float> offsets;

  Layer(Kind what, std::vector<int> from, int to)
      : kind(what), sources(std::move(from)), target(to) {
    shape.advance = 1;
    shape.high = kHighest;
  }

  // Lays out weights: `weight(segment, tap, byte, output)` gives what a byte of a segment's column
  // is multiplied with for an output channel.
  template <class Weight>
  void pack(int segments, int taps, int bytes, int outputs, const Weight& weight);

  RowOfPixels row(int first_block, int block_count) const;

  // Transforms a convolution's weights: `weight(input, row, column, output)` gives one of all
  // sources' channels, as they are stored.
  template <class Weight>
  void transform(int inputs, const Weight& weight);

  bool has_strips() const { return strip_weights.data() != nullptr; }

  // Lets sums begin so that the bytes that stand for zero in each segment add nothing.
  void begin_sums(const std::vector<uint8_t>& zeros);

  // Repeats the rounding for every `period` outputs, of which the last may have none.
  void round(const Rounding& rounding, int period);
};

template <class Weight>
void Network::Layer::pack(int segments, int taps, int bytes, int outputs, const Weight& weight) {
  using kernels::kLanes;
  using kernels::kProducts;
  const int steps = (bytes + kProducts - 1) / kProducts;
  const int blocks = (outputs + kLanes - 1) / kLanes;
  const int columns = segments * taps;
  shape.segment_count = segments;
  shape.taps = taps;
  shape.steps = steps;
  shape.blocks = shape.blocks_of_weight = blocks;
  shape.out_stride = blocks * kLanes;
  weights = AlignedBytes(static_cast<size_t>(columns) * static_cast<size_t>(steps * blocks) *
                         static_cast<size_t>(kWeightBytes));
  auto* out = reinterpret_cast<int8_t*>(weights.data());
  for (int column = 0; column < columns; ++column) {
    for (int step = 0; step < steps; ++step) {
      for (int output = 0; output < blocks * kLanes; ++output) {
        for (int byte = step * kProducts; byte < (step + 1) * kProducts; ++byte) {
          const bool real = byte < bytes && output < outputs;
          *out++ = real ? weight(column / taps, column % taps, byte, output) : int8_t{0};
        }
      }
    }
  }
}

// The 36 products' weights of one kernel of 3 x 3, from its nine: first its columns are
// transformed, then what became of its rows.
inline void transform_kernel(const int32_t (&kernel)[3][3], int32_t (&places)[kPlaces]) {
  for (int i = 0; i < kPatch; ++i) {
    const auto& down = kKernelTransform[i];
    int32_t row[3];
    for (int j = 0; j < 3; ++j) {
      row[j] = down[0] * kernel[0][j] + down[1] * kernel[1][j] + down[2] * kernel[2][j];
    }
    for (int j = 0; j < kPatch; ++j) {
      const auto& across = kKernelTransform[j];
      places[i * kPatch + j] = across[0] * row[0] + across[1] * row[1] + across[2] * row[2];
    }
  }
}

template <class Weight>
void Network::Layer::transform(int inputs, const Weight& weight) {
  using kernels::kLanes;
  const int pairs = inputs / kPair;
  const int place_size = pairs * kLanes * kPair;
  const int size = shape.blocks * place_size;
  strip_weights = AlignedBytes(static_cast<size_t>(kPlaces * size) * sizeof(int16_t));
  auto* out = reinterpret_cast<int16_t*>(strip_weights.data());
  for (int i = 0; i < size; ++i) {
    const int block = i / place_size;
    const int output = block * kLanes + i / kPair % kLanes;
    const int input = i / (kLanes * kPair) % pairs * kPair + i % kPair;
    int32_t kernel[3][3];
    for (int j = 0; j < 9; ++j) kernel[j / 3][j % 3] = weight(input, j / 3, j % 3, output);
    int32_t places[kPlaces];
    transform_kernel(kernel, places);
    int16_t* to = out + block * kPlaces * place_size + i % place_size;
    for (int j = 0; j < kPlaces; ++j) to[j * place_size] = static_cast<int16_t>(places[j]);
  }
}

}  // namespace nucleiseg::cpu
