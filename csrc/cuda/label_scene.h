// What the kernels of label.cu share: the constants, what they work on, which pixels are a
// thread's own, and where all of it lies in memory.
#pragma once

#include "cuda/label.h"
#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE::watershed {

using kernels::kBackground;
using kernels::kBackgroundHeight;
using kernels::kClimb;
using kernels::kHeightUnit;
using kernels::kPeak;
using kernels::kSmoothed;

inline int32_t squares_of(int32_t height, int32_t width) {
  return (height / 2 + height % 2) * (width / 2 + width % 2);
}

// Each halves the ways up, of about a nucleus's radius in pixels, that reach then goes.
constexpr int kJumps = 2;

// Pixels of a thread, one below the other or side by side.
constexpr int kRun = 4;

// Blocks of a round after the first, which fill a large card: so a round in which nothing is left
// to do is short.
constexpr int64_t kRoundBlocks = 512;
// A round has two launches; the rounds after these have one together, of one block.
constexpr int32_t kWideRounds = 4;
constexpr uint32_t kLastThreads = 512;
constexpr int32_t kMostRounds = 30;  // of fewer than 2**31 pixels

// A pass's key says in its upper bits in which round it was found, so that no old one counts.
constexpr int kRoundBit = 48;

// Pixels of a thread, one below the other, that moments are summed over: about a nucleus, so that
// few threads add to the same sums.
constexpr int kShapeRun = 16;

constexpr uint32_t kNone = 0xffffffffu;

// Which pixels the rounds after the first look at.
struct Lists {
  int32_t* peaks;    // has room for all: a square of 2 x 2 pixels holds one at the most
  int32_t* borders;  // pixels with a neighbour of kEast to kNeighbours in another basin
  uint32_t* counts;  // of peaks and of borders, those for which there was no room too
  int32_t room;      // for borders
};

struct Scene {
  ImageView maps;
  int32_t height;
  int32_t width;
  kernels::LabelRule rule;
  int32_t* cells;    // the labels: see forest.h
  int16_t* heights;  // of pixels
  uint64_t* passes;  // a basin's highest
  uint32_t* joined;  // whether any basin joined in a round
  Lists lists;

  int32_t pixels() const { return height * width; }
  int32_t squares() const { return squares_of(height, width); }

  // Runs of kRun pixels in a row and in a column, and in the image.
  __host__ __device__ int32_t row_runs() const { return width / kRun + (width % kRun > 0); }
  __host__ __device__ int32_t column_runs() const { return height / kRun + (height % kRun > 0); }
  __host__ __device__ int64_t runs_across() const { return int64_t{height} * row_runs(); }
  __host__ __device__ int64_t runs_down() const { return int64_t{width} * column_runs(); }
};

struct Pixel {
  int32_t row;
  int32_t column;
  int32_t index;
};

__device__ __forceinline__ Pixel pixel_at(const Scene& scene, int64_t index) {
  const auto i = static_cast<int32_t>(index);
  return {i / scene.width, i % scene.width, i};
}

// The thread's own pixel; one past the last pixel is none.
__device__ __forceinline__ bool own_pixel(const Scene& scene, Pixel& pixel) {
  const int64_t i = item();
  if (i >= int64_t{scene.height} * scene.width) return false;
  pixel = pixel_at(scene, i);
  return true;
}

// The thread's own kRun pixels, one below the other; its last may be below the image.
__device__ __forceinline__ bool own_column(const Scene& scene, Pixel& pixel) {
  const int64_t i = item();
  if (i >= scene.runs_down()) return false;
  const auto run = static_cast<int32_t>(i);
  pixel.row = run / scene.width * kRun;
  pixel.column = run % scene.width;
  pixel.index = pixel.row * scene.width + pixel.column;
  return true;
}

// Side by side; its last may be to the right of the image.
__device__ __forceinline__ bool own_row(const Scene& scene, Pixel& pixel) {
  const int64_t i = item();
  if (i >= scene.runs_across()) return false;
  const auto run = static_cast<int32_t>(i);
  pixel.row = run / scene.row_runs();
  pixel.column = run % scene.row_runs() * kRun;
  pixel.index = pixel.row * scene.width + pixel.column;
  return true;
}

__device__ __forceinline__ int32_t square_of(const Scene& scene, int32_t pixel) {
  const int32_t row = pixel / scene.width;
  const int32_t column = pixel % scene.width;
  return row / 2 * (scene.width / 2 + scene.width % 2) + column / 2;
}

__device__ __forceinline__ int32_t step(const Scene& scene, int k) {
  return kernels::row_step(k) * scene.width + kernels::column_step(k);
}

__device__ __forceinline__ const uint8_t* maps_at(const Scene& scene, int32_t row, int32_t column) {
  return reinterpret_cast<const uint8_t*>(scene.maps.data) + row * scene.maps.row_stride +
         column * scene.maps.column_stride;
}

__device__ __forceinline__ int32_t clamped(int32_t index, int32_t size) {
  return index < 0 ? 0 : index < size ? index : size - 1;
}

__device__ __forceinline__ uint16_t five_from(const uint16_t* values) {
  return kernels::five(values[0], values[1], values[2], values[3], values[4]);
}

// The workspace's parts. What the steps need at different times shares memory.
struct Parts {
  uint64_t* passes;
  uint32_t* areas;   // where passes are
  uint32_t* firsts;  // behind areas: a nucleus's first pixel
  uint32_t* joined;  // and behind it, how long the lists are
  uint8_t* marks;
  size_t cleared;  // bytes of passes, joined and marks together
  int16_t* heights;
  uint16_t* across;
  Lists lists;      // where across is
  int32_t* before;  // where heights and across are: how many nuclei begin before a pixel
  void* sum;
  size_t sum_bytes;
  kernels::Moments* moments;  // of basins, if the rule merges any
  size_t bytes;
};

}  // namespace nucleiseg::NUCLEISEG_DEVICE::watershed
