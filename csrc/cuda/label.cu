// A launch for each step, a thread for each pixel or for a few pixels that share what they read:
//
//   smooth_across, smooth_down  how high each pixel is
//   climb                       each nucleus pixel points to the neighbour it climbs to
//   jump, reach                 and then to the peak it reaches (pointer jumping: Wyllie, "The
//                               Complexity of Parallel Computations", 1979)
//   first_passes, join          a round: each basin finds its highest pass, and all that join
//                               another basin do so (Boruvka's algorithm: Nesetril, Milkova and
//                               Nesetrilova, "Otakar Boruvka on Minimum Spanning Tree Problem",
//                               Discrete Mathematics 233, 2001, doi:10.1016/S0012-365X(00)00224-7)
//   find_passes, join           further rounds, which look at peaks and at the pixels on borders
//                               between basins alone: the first round lists both
//   last_rounds                 the rounds that few images need
//   (label_merge.cu)            each basin asks whether it and another are one nucleus
//   measure                     nuclei get their areas, probabilities and first pixels
//   mark                        the first pixels of nuclei that are kept
//   (running sum)               their ids
//   paint                       each pixel gets its nucleus's id
//
// The host does not wait to see whether basins still join: it launches as many rounds as can be
// needed, and those after the last that joined anything return at once. A basin that joins nothing
// in one round never will: its highest pass is too low for it, and those that join it are lower
// than it is and bring lower passes alone. The others form groups of two or more, so that at most
// half as many basins may join in the next round. Counting those that never will as one, n basins
// become n / 2, rounded up, and of one nothing joins: log2(n) rounds, rounded up, are enough.
//
// No two peaks are neighbours, so a square of 2 x 2 pixels holds one at the most: what is kept for
// each basin is kept in its peak's square. For the same reason a peak's own height makes no pass,
// and becomes the height of the highest of the peaks that it stands for.
//
// Everything is an integer, and what several threads compete for goes to the least or the greatest:
// the order of the threads does not show in the result.
#include <algorithm>
#include <cstring>

#include "cuda/forest.h"
#include "cuda/label.h"
#include "cuda/label_merge.h"
#include "cuda/label_rounds.h"
#include "cuda/label_scene.h"
#include "cuda/scan.h"
#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

using namespace watershed;

// Heights before they are smoothed down the columns.
__global__ void smooth_across(Scene scene, uint16_t* across) {
  Pixel first;
  if (!own_row(scene, first)) return;
  const uint8_t* const line = maps_at(scene, first.row, 0) + scene.maps.channel_stride;
  uint16_t values[kRun + 2 * kSmoothed];
  NUCLEISEG_UNROLL for (int i = 0; i < kRun + 2 * kSmoothed; ++i) {
    const int32_t column = clamped(first.column + i - kSmoothed, scene.width);
    values[i] = line[column * scene.maps.column_stride];
  }
  uint16_t once[kRun + kSmoothed];
  NUCLEISEG_UNROLL for (int i = 0; i < kRun + kSmoothed; ++i) once[i] = five_from(values + i);
  uint16_t twice[kRun];
  NUCLEISEG_UNROLL for (int i = 0; i < kRun; ++i) {
    twice[i] = kernels::sixteenth(five_from(once + i));
  }
  if (scene.width % kRun == 0) {
    uint2 words;
    memcpy(&words, twice, sizeof words);
    *reinterpret_cast<uint2*>(across + first.index) = words;
    return;
  }
  NUCLEISEG_UNROLL for (int i = 0; i < kRun; ++i) {
    if (first.column + i < scene.width) across[first.index + i] = twice[i];
  }
}

__global__ void smooth_down(Scene scene, const uint16_t* across) {
  Pixel first;
  if (!own_column(scene, first)) return;
  uint16_t values[kRun + 2 * kSmoothed];
  NUCLEISEG_UNROLL for (int i = 0; i < kRun + 2 * kSmoothed; ++i) {
    const int32_t row = clamped(first.row + i - kSmoothed, scene.height);
    values[i] = across[row * scene.width + first.column];
  }
  uint16_t once[kRun + kSmoothed];
  NUCLEISEG_UNROLL for (int i = 0; i < kRun + kSmoothed; ++i) {
    once[i] = kernels::sixteenth(five_from(values + i));
  }
  NUCLEISEG_UNROLL for (int i = 0; i < kRun; ++i) {
    if (first.row + i >= scene.height) return;
    scene.heights[first.index + i * scene.width] =
        kernels::height(maps_at(scene, first.row + i, first.column)[0],
                        kernels::sixteenth(five_from(once + i)), scene.rule.nucleus_threshold);
  }
}

__global__ void climb(Scene scene) {
  Pixel first;
  if (!own_column(scene, first)) return;
  int16_t heights[kRun + 2][3];
  NUCLEISEG_UNROLL for (int r = 0; r < kRun + 2; ++r) {
    NUCLEISEG_UNROLL for (int c = 0; c < 3; ++c) {
      const int32_t row = first.row + r - 1;
      const int32_t column = first.column + c - 1;
      heights[r][c] = is_inside(scene, row, column) ? scene.heights[row * scene.width + column]
                                                    : kBackgroundHeight;
    }
  }
  NUCLEISEG_UNROLL for (int i = 0; i < kRun; ++i) {
    if (first.row + i >= scene.height) return;
    const int32_t index = first.index + i * scene.width;
    const int16_t best = kernels::steepest(heights[i] + 1, heights[i + 1] + 1, heights[i + 2] + 1);
    const uint8_t code = kernels::code(heights[i + 1][1], best);
    const bool climbs = code >= kClimb && code < kPeak;
    const int32_t target = index + (climbs ? step(scene, code - kClimb) : 0);
    scene.cells[index] = code == kBackground ? 0 : target + 1;
  }
}

__global__ void jump(Scene scene) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const Forest forest(scene.cells);
  const int32_t target = forest.target(pixel.index);
  if (target >= 0 && target != pixel.index) forest.point(pixel.index, forest.target(target));
}

__global__ void reach(Scene scene) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const Forest forest(scene.cells);
  if (forest.target(pixel.index) >= 0) forest.point(pixel.index, forest.root(pixel.index));
}

__device__ __forceinline__ void join_from(const Scene& scene, int32_t square, int32_t round) {
  const bool joined = join_beyond(scene, square, round, [&](int32_t root, int32_t, int32_t pass) {
    return kernels::joins(peak_of(scene, root), pass, scene.rule);
  });
  if (joined) relaxed_store(scene.joined + round, 1u);
}

__device__ __forceinline__ bool has_work(const Scene& scene, int32_t round) {
  return round == 0 || relaxed_load(scene.joined + round - 1) != 0;
}

// Every pixel's passes, and the lists for the rounds to come. Blocks take their places in a list
// at once, as all that do so compete for one count.
__global__ void first_passes(Scene scene) {
  __shared__ int32_t found[2][kThreads];
  __shared__ uint32_t counts[2];
  __shared__ uint32_t begins[2];
  phase([&] {
    if (threadIdx.x < 2) counts[threadIdx.x] = 0;
  });
  phase([&] {
    Pixel pixel;
    if (!own_pixel(scene, pixel)) return;
    const int32_t target = Forest(scene.cells).target(pixel.index);
    if (target < 0) return;
    const bool is_peak = target == pixel.index;
    if (!find_passes_of(scene, pixel, 0) && !is_peak) return;
    const int list = is_peak ? 0 : 1;
    found[list][atomic_add(&counts[list], 1u)] = pixel.index;
  });
  phase([&] {
    const uint32_t list = threadIdx.x;
    if (list < 2 && counts[list] > 0) {
      begins[list] = atomic_add(scene.lists.counts + list, counts[list]);
    }
  });
  phase([&] {
    const uint32_t i = threadIdx.x;
    if (i < counts[0]) scene.lists.peaks[begins[0] + i] = found[0][i];
    if (i < counts[1] && begins[1] + i < static_cast<uint32_t>(scene.lists.room)) {
      scene.lists.borders[begins[1] + i] = found[1][i];
    }
  });
}

// Of every peak's square: those of basins that joined others have no pass of this round.
__device__ __forceinline__ void join_all(const Scene& scene, int32_t round) {
  for_own_items(relaxed_load(scene.lists.counts), [&](int64_t i) {
    join_from(scene, square_of(scene, relaxed_load(scene.lists.peaks + i)), round);
  });
}

__global__ void find_passes(Scene scene, int32_t round) {
  if (has_work(scene, round)) find_listed_passes(scene, round);
}

__global__ void join(Scene scene, int32_t round) {
  if (has_work(scene, round)) join_all(scene, round);
}

__global__ void last_rounds(Scene scene, int32_t round, int32_t end) {
  for (; round < end && has_work(scene, round); ++round) {
    phase([&] { find_listed_passes(scene, round); });
    phase([&] { join_all(scene, round); });
  }
}

// `areas` and `probabilities` are 0 and `firsts` is kNone everywhere before.
__global__ void measure(Scene scene, uint32_t* areas, uint64_t* probabilities, uint32_t* firsts) {
  Pixel first;
  if (!own_column(scene, first)) return;
  const Forest forest(scene.cells);
  int32_t last = -1;  // the nucleus above, of which there are so many pixels
  uint32_t count = 0;
  uint64_t probability = 0;
  const auto add = [&] {
    if (count == 0) return;
    atomic_add(areas + square_of(scene, last), count);
    if (scene.rule.min_probability > 0) {
      atomic_add(probabilities + square_of(scene, last), probability);
    }
    count = 0;
    probability = 0;
  };
  for (int i = 0; i < kRun && first.row + i < scene.height; ++i) {
    const int32_t index = first.index + i * scene.width;
    if (forest.target(index) < 0) continue;
    const int32_t root = forest.root(index);
    settle(scene, index, root);
    if (root != last) add();
    last = root;
    ++count;
    probability += maps_at(scene, first.row + i, first.column)[0];
    // The first pixel of a nucleus has no pixel of it to the left.
    if (first.column > 0 && forest.target(index - 1) == root) continue;
    atomic_min(firsts + square_of(scene, root), static_cast<uint32_t>(index));
  }
  add();
}

// `marks` is 0 everywhere before. A nucleus that is dropped has no first pixel afterwards.
__global__ void mark(Scene scene, int32_t squares, const uint32_t* areas,
                     const uint64_t* probabilities, uint32_t* firsts, uint8_t* marks) {
  const int64_t i = item();
  if (i >= squares || firsts[i] == kNone) return;
  const int32_t root = Forest(scene.cells).target(static_cast<int32_t>(firsts[i]));
  if (kernels::is_kept(areas[i], peak_of(scene, root), probabilities[i], scene.rule)) {
    marks[firsts[i]] = 1;
  } else {
    firsts[i] = kNone;
  }
}

__global__ void paint(Scene scene, const uint32_t* firsts, const uint8_t* marks,
                      const int32_t* before, int32_t* count) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const int32_t last = scene.height * scene.width - 1;
  if (pixel.index == last) *count = before[last] + marks[last];
  const int32_t root = Forest(scene.cells).target(pixel.index);
  const uint32_t first = root < 0 ? kNone : firsts[square_of(scene, root)];
  scene.cells[pixel.index] = first == kNone ? 0 : before[first] + 1;
}

size_t round_up(size_t bytes) { return (bytes + 255) / 256 * 256; }

Parts parts_of(void* workspace, int32_t pixels, int32_t squares) {
  const auto count = static_cast<size_t>(pixels);
  const auto peaks = static_cast<size_t>(squares);
  auto* const memory = static_cast<uint8_t*>(workspace);
  const size_t joined = round_up(peaks * sizeof(uint64_t));
  const size_t marks = joined + round_up((kMostRounds + 2) * sizeof(uint32_t));
  const size_t heights = marks + round_up(count);
  const size_t across = heights + round_up(count * sizeof(int16_t));
  // As many borders as peaks: about half of what lies there before needs.
  const size_t lists = std::max(count * sizeof(uint16_t), 2 * peaks * sizeof(int32_t));
  const size_t sum = across + round_up(lists);
  const size_t sum_bytes = round_up(running_sum_workspace(pixels));
  const size_t moments = sum + sum_bytes;
  auto* const areas = reinterpret_cast<uint32_t*>(memory);
  auto* const rounds = reinterpret_cast<uint32_t*>(memory + joined);
  auto* const listed = reinterpret_cast<int32_t*>(memory + across);
  return {reinterpret_cast<uint64_t*>(memory),
          areas,
          areas + squares,
          rounds,
          memory + marks,
          heights,
          reinterpret_cast<int16_t*>(memory + heights),
          reinterpret_cast<uint16_t*>(memory + across),
          {listed, listed + squares, rounds + kMostRounds, squares},
          reinterpret_cast<int32_t*>(memory + heights),
          memory + sum,
          sum_bytes,
          reinterpret_cast<kernels::Moments*>(memory + moments),
          moments + peaks * sizeof(kernels::Moments)};
}

void clear(void* memory, int value, size_t bytes, cudaStream_t stream) {
  NUCLEISEG_CHECK(cudaMemsetAsync(memory, value, bytes, stream));
}

void reach_peaks(const Scene& scene, uint16_t* across, cudaStream_t stream) {
  const int64_t pixels = scene.pixels();
  launch_items(smooth_across, scene.runs_across(), stream, scene, across);
  launch_items(smooth_down, scene.runs_down(), stream, scene, across);
  launch_items(climb, scene.runs_down(), stream, scene);
  for (int i = 0; i < kJumps; ++i) launch_items(jump, pixels, stream, scene);
  launch_items(reach, pixels, stream, scene);
}

void join_basins(const Scene& scene, cudaStream_t stream) {
  const int32_t squares = scene.squares();
  const int32_t rounds = rounds_for(squares);
  const int32_t wide = std::min(rounds, kWideRounds);
  const int64_t blocks = std::min(kRoundBlocks, blocks_for(squares));
  for (int32_t round = 0; round < wide; ++round) {
    if (round == 0) {
      launch_blocks(first_passes, blocks_for(scene.pixels()), kThreads, stream, scene);
    } else {
      launch(find_passes, blocks, kThreads, stream, scene, round);
    }
    launch(join, blocks, kThreads, stream, scene, round);
  }
  if (wide < rounds) launch_blocks(last_rounds, 1, kLastThreads, stream, scene, wide, rounds);
}

void number_nuclei(const Scene& scene, const Parts& parts, int32_t* count, cudaStream_t stream) {
  const int64_t pixels = scene.pixels();
  const int32_t squares = scene.squares();
  const size_t table = static_cast<size_t>(squares) * sizeof(uint32_t);
  // Nothing merges any more, and what is summed over basins is no longer needed.
  auto* const probabilities = reinterpret_cast<uint64_t*>(parts.moments);
  clear(parts.areas, 0, table, stream);
  clear(parts.firsts, 0xff, table, stream);
  clear(probabilities, 0, static_cast<size_t>(squares) * sizeof(uint64_t), stream);
  launch_items(measure, scene.runs_down(), stream, scene, parts.areas, probabilities, parts.firsts);
  launch_items(mark, squares, stream, scene, squares, parts.areas, probabilities, parts.firsts,
               parts.marks);
  running_sum(parts.marks, parts.before, scene.pixels(), parts.sum, parts.sum_bytes, stream);
  launch_items(paint, pixels, stream, scene, parts.firsts, parts.marks, parts.before, count);
}

}  // namespace

size_t label_workspace(int64_t height, int64_t width) {
  const auto rows = static_cast<int32_t>(height);
  const auto columns = static_cast<int32_t>(width);
  return parts_of(nullptr, rows * columns, squares_of(rows, columns)).bytes;
}

void label(const ImageView& maps, const kernels::LabelRule& rule, int32_t* labels, int32_t* count,
           void* workspace, cudaStream_t stream) {
  const auto height = static_cast<int32_t>(maps.height);
  const auto width = static_cast<int32_t>(maps.width);
  const Parts parts = parts_of(workspace, height * width, squares_of(height, width));
  const Scene scene = {maps,          height,       width,        rule,       labels,
                       parts.heights, parts.passes, parts.joined, parts.lists};
  clear(parts.passes, 0, parts.cleared, stream);
  reach_peaks(scene, parts.across, stream);
  join_basins(scene, stream);
  if (rule.merge.prominence > 0) merge_basins(scene, parts.moments, stream);
  number_nuclei(scene, parts, count, stream);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
