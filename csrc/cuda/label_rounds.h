// What the rounds of label.cu and the merging of label_merge.cu share: how basins find their
// highest passes.
#pragma once

#include "cuda/forest.h"
#include "cuda/label_scene.h"
#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE::watershed {

inline int32_t rounds_for(int64_t basins) {
  int32_t rounds = 0;
  while ((int64_t{1} << rounds) < basins) ++rounds;
  return rounds;
}

__device__ __forceinline__ bool is_inside(const Scene& scene, int32_t row, int32_t column) {
  return row >= 0 && row < scene.height && column >= 0 && column < scene.width;
}

__device__ __forceinline__ int16_t height_at(const Scene& scene, int32_t pixel) {
  return relaxed_load(scene.heights + pixel);
}

// Of the basin or basins that a root stands for.
__device__ __forceinline__ int32_t peak_of(const Scene& scene, int32_t root) {
  return height_at(scene, root) / kHeightUnit;
}

// Points a pixel to its root, and lets the root be as high as the pixel.
__device__ __forceinline__ void settle(const Scene& scene, int32_t pixel, int32_t root) {
  const int16_t height = height_at(scene, pixel);
  if (height_at(scene, root) < height) atomic_max(scene.heights + root, height);
  Forest(scene.cells).point(pixel, root);
}

__device__ __forceinline__ uint64_t found_in(int32_t round, uint64_t key) {
  return static_cast<uint64_t>(round + 1) << kRoundBit | key;
}

// A pass at which a basin would not join is not worth an atomic operation. That the basin may be
// higher than what is known of it here does no harm.
__device__ __forceinline__ void offer(const Scene& scene, int32_t root, uint64_t key,
                                      int32_t round) {
  if (!kernels::joins(peak_of(scene, root), kernels::pass_height(key), scene.rule)) return;
  uint64_t* const best = scene.passes + square_of(scene, root);
  const uint64_t found = found_in(round, key);
  if (relaxed_load(best) < found) atomic_max(best, found);
}

// Offers the passes between a pixel of a basin and its neighbours; says whether there were any.
__device__ __forceinline__ bool find_passes_of(const Scene& scene, const Pixel& pixel,
                                               int32_t round) {
  const Forest forest(scene.cells);
  const int32_t root = forest.find(pixel.index);
  settle(scene, pixel.index, root);
  uint64_t best = 0;
  NUCLEISEG_UNROLL for (int k = kernels::kEast; k < kernels::kNeighbours; ++k) {
    const int32_t row = pixel.row + kernels::row_step(k);
    const int32_t column = pixel.column + kernels::column_step(k);
    if (!is_inside(scene, row, column)) continue;
    const int32_t other = row * scene.width + column;
    const int32_t target = forest.target(other);
    if (target < 0 || target == root) continue;
    const int32_t beyond = forest.find(other);
    if (beyond == root) continue;
    const uint64_t key =
        kernels::pass_key(height_at(scene, pixel.index), height_at(scene, other), pixel.index, k);
    best = key > best ? key : best;
    offer(scene, beyond, key, round);
  }
  if (best > 0) offer(scene, root, best, round);
  return best > 0;
}

// Calls fn for every item that falls to this thread.
template <class Function>
__device__ __forceinline__ void for_own_items(int64_t count, Function&& fn) {
  const int64_t threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = item(); i < count; i += threads) fn(i);
}

__device__ __forceinline__ void find_listed_passes(const Scene& scene, int32_t round) {
  const uint32_t peaks = relaxed_load(scene.lists.counts);
  const uint32_t borders = relaxed_load(scene.lists.counts + 1);
  if (borders > static_cast<uint32_t>(scene.lists.room)) {
    for_own_items(int64_t{scene.height} * scene.width, [&](int64_t i) {
      const Pixel pixel = pixel_at(scene, i);
      if (Forest(scene.cells).target(pixel.index) >= 0) find_passes_of(scene, pixel, round);
    });
    return;
  }
  for_own_items(int64_t{peaks} + borders, [&](int64_t i) {
    const int32_t* const place =
        i < peaks ? scene.lists.peaks + i : scene.lists.borders + (i - peaks);
    find_passes_of(scene, pixel_at(scene, relaxed_load(place)), round);
  });
}

// Joins the basin of a square to the one beyond its highest pass of this round, if there is one and
// `joins(root, beyond, pass)` says so; returns whether it did.
template <class Joins>
__device__ __forceinline__ bool join_beyond(const Scene& scene, int32_t square, int32_t round,
                                            Joins&& joins) {
  const uint64_t key = relaxed_load(scene.passes + square);
  if (key < found_in(round, 0)) return false;
  const int32_t pass = kernels::pass_height(key - found_in(round, 0));
  const int32_t pixel = kernels::pass_pixel(key);
  const Forest forest(scene.cells);
  int32_t root = forest.root_before(pixel);
  int32_t beyond = forest.root_before(pixel + step(scene, kernels::pass_neighbour(key)));
  if (square_of(scene, root) != square) {
    const int32_t other = root;
    root = beyond;
    beyond = other;
  }
  if (!joins(root, beyond, pass)) return false;
  // Of two that would point to each other, the first stays a root.
  const bool both =
      relaxed_load(scene.passes + square_of(scene, beyond)) == key && joins(beyond, root, pass);
  if (!both || beyond < root) forest.join(root, beyond);
  return true;
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE::watershed
