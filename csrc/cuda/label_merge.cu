// A launch for each step:
//
//   clear_moments, sum_moments  basins get the sums that their shapes come from
//   find_highest                each basin finds its highest pass
//   merge                       and asks there whether the two basins are one nucleus
//
// All ask before any merges, each once, so what merges does not depend on the order.
#include <algorithm>

#include "cuda/forest.h"
#include "cuda/label_merge.h"
#include "cuda/label_rounds.h"
#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE::watershed {
namespace {

__device__ __forceinline__ void add_moments(kernels::Moments* sums, const kernels::Moments& more) {
  atomic_add(&sums->area, more.area);
  atomic_add(&sums->row, more.row);
  atomic_add(&sums->column, more.column);
  atomic_add(&sums->row_row, more.row_row);
  atomic_add(&sums->row_column, more.row_column);
  atomic_add(&sums->column_column, more.column_column);
}

// Of all basins that there were before any joined.
__global__ void clear_moments(Scene scene, kernels::Moments* moments) {
  for_own_items(relaxed_load(scene.lists.counts), [&](int64_t i) {
    moments[square_of(scene, relaxed_load(scene.lists.peaks + i))] = {};
  });
}

__global__ void sum_moments(Scene scene, kernels::Moments* moments) {
  const int64_t i = item();
  const auto column = static_cast<int32_t>(i % scene.width);
  const auto first = static_cast<int32_t>(i / scene.width * kShapeRun);
  const Forest forest(scene.cells);
  int32_t last = -1;  // the basin above, of which these are the sums
  kernels::Moments sums;
  for (int32_t row = first; row < first + kShapeRun && row < scene.height; ++row) {
    const int32_t index = row * scene.width + column;
    if (forest.target(index) < 0) continue;
    const int32_t root = forest.root(index);
    if (root != last && sums.area > 0) {
      add_moments(moments + square_of(scene, last), sums);
      sums = {};
    }
    last = root;
    const auto r = static_cast<uint64_t>(row);
    const auto c = static_cast<uint64_t>(column);
    sums = kernels::sum_of(sums, {1, r, c, r * r, r * c, c * c});
  }
  if (sums.area > 0) add_moments(moments + square_of(scene, last), sums);
}

__global__ void find_highest(Scene scene, int32_t round) { find_listed_passes(scene, round); }

__device__ __forceinline__ void merge_from(const Scene& scene, const kernels::Moments* moments,
                                           int32_t square, int32_t round) {
  const auto side = [&](int32_t root) {
    return kernels::Side{peak_of(scene, root), moments[square_of(scene, root)]};
  };
  join_beyond(scene, square, round, [&](int32_t root, int32_t beyond, int32_t pass) {
    return kernels::joins(peak_of(scene, root), pass, scene.rule) &&
           kernels::are_one(side(root), side(beyond), pass, scene.rule.merge);
  });
}

__global__ void merge(Scene scene, const kernels::Moments* moments, int32_t round) {
  for_own_items(relaxed_load(scene.lists.counts), [&](int64_t i) {
    merge_from(scene, moments, square_of(scene, relaxed_load(scene.lists.peaks + i)), round);
  });
}

}  // namespace

void merge_basins(Scene scene, kernels::Moments* moments, cudaStream_t stream) {
  const int32_t squares = scene.squares();
  const int32_t round = rounds_for(squares);  // after the last in which basins join
  const int64_t blocks = std::min(kRoundBlocks, blocks_for(squares));
  const int64_t runs = int64_t{scene.width} * ((scene.height + kShapeRun - 1) / kShapeRun);
  scene.rule = kernels::with_prominence(scene.rule, scene.rule.merge.prominence);
  launch(clear_moments, blocks, kThreads, stream, scene, moments);
  launch_items(sum_moments, runs, stream, scene, moments);
  launch(find_highest, blocks, kThreads, stream, scene, round);
  launch(merge, blocks, kThreads, stream, scene, moments, round);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE::watershed
