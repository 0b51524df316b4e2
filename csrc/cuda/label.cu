// A launch for each step, a thread for each pixel:
//
//   classify        each pixel points to the neighbour it climbs to; the others are sets of one
//   unite           cores and plateaus become sets
//   census          sets are measured, and plateaus find their first exit
//   settle          plateaus leave by their exits; cores too small to count are none
//   jump, resolve   each pixel finds the core it reaches (pointer jumping: Wyllie, "The Complexity
//                   of Parallel Computations", 1979); the others are coreless
//   unite_coreless  coreless pixels become sets
//   find_gates      each set finds the highest pixel where it touches a nucleus
//   join            each set joins that nucleus, or is one
//   measure         nuclei get their areas and first pixels
//   mark            the first pixels of nuclei that are large enough
//   (running sum)   their ids
//   paint           each pixel gets its nucleus's id
//
// Everything is an integer, every set's root is its first pixel, and what several threads compete
// for goes to the least or the greatest: the order of the threads does not show in the result.
#include "cuda/forest.h"
#include "cuda/label.h"
#include "cuda/scan.h"
#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

using kernels::kBackground;
using kernels::kClimb;
using kernels::kCore;
using kernels::kNeighbours;
using kernels::kPlateau;
using kernels::kSummit;

// Each halves the ways up, of about a nucleus's radius in pixels, that resolve then goes.
constexpr int kJumps = 2;

constexpr uint32_t kNone = 0xffffffffu;

struct Scene {
  ImageView maps;
  int32_t height;
  int32_t width;
  uint8_t nucleus_threshold;
  uint8_t core_threshold;
  int32_t* cells;  // the labels: see forest.h
  uint8_t* codes;  // what each pixel is

  int32_t pixels() const { return height * width; }
};

struct Pixel {
  int32_t row;
  int32_t column;
  int32_t index;
};

// The thread's own pixel; one past the last pixel is none.
__device__ __forceinline__ bool own_pixel(const Scene& scene, Pixel& pixel) {
  const int64_t i = item();
  if (i >= int64_t{scene.height} * scene.width) return false;
  pixel.index = static_cast<int32_t>(i);
  pixel.row = pixel.index / scene.width;
  pixel.column = pixel.index % scene.width;
  return true;
}

// Calls look(index) for each neighbour first..last - 1 inside the image.
template <int first, int last, class Look>
__device__ __forceinline__ void for_neighbours(const Scene& scene, const Pixel& pixel,
                                               Look&& look) {
  NUCLEISEG_UNROLL for (int k = first; k < last; ++k) {
    const int32_t row = pixel.row + kernels::row_step(k);
    const int32_t column = pixel.column + kernels::column_step(k);
    if (row < 0 || row >= scene.height || column < 0 || column >= scene.width) continue;
    look(row * scene.width + column);
  }
}

__device__ __forceinline__ const uint8_t* maps_at(const Scene& scene, int32_t row, int32_t column) {
  return reinterpret_cast<const uint8_t*>(scene.maps.data) + row * scene.maps.row_stride +
         column * scene.maps.column_stride;
}

__device__ __forceinline__ uint8_t distance_at(const Scene& scene, int32_t pixel) {
  return maps_at(scene, pixel / scene.width, pixel % scene.width)[scene.maps.channel_stride];
}

__device__ __forceinline__ int16_t height_at(const Scene& scene, int32_t row, int32_t column) {
  if (row < 0 || row >= scene.height || column < 0 || column >= scene.width) {
    return kernels::kBackgroundHeight;
  }
  const uint8_t* const maps = maps_at(scene, row, column);
  return kernels::height(maps[0], maps[scene.maps.channel_stride], scene.nucleus_threshold);
}

__global__ void classify(Scene scene) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  int16_t heights[3][3];
  NUCLEISEG_UNROLL for (int r = 0; r < 3; ++r) {
    NUCLEISEG_UNROLL for (int c = 0; c < 3; ++c) {
      heights[r][c] = height_at(scene, pixel.row + r - 1, pixel.column + c - 1);
    }
  }
  const int16_t best = kernels::steepest(heights[0] + 1, heights[1] + 1, heights[2] + 1);
  const auto core = static_cast<int16_t>(scene.core_threshold * kernels::kHeightUnit);
  const uint8_t code = kernels::code(heights[1][1], best, core);
  scene.codes[pixel.index] = code;
  int32_t target = pixel.index;
  if (code >= kClimb && code < kPlateau) {
    const int k = code - kClimb;
    target += kernels::row_step(k) * scene.width + kernels::column_step(k);
  }
  // Runs of core pixels are united from the start.
  if (code == kCore && pixel.column > 0 && heights[1][0] >= core) --target;
  scene.cells[pixel.index] = code == kBackground ? 0 : target + 1;
}

// Pixels of a core touch at their edges. Where the pixels to the left of both are core pixels too,
// the two rows are united there.
__device__ __forceinline__ void unite_core(const Scene& scene, const Pixel& pixel) {
  const int32_t above = pixel.index - scene.width;
  if (pixel.row == 0 || scene.codes[above] != kCore) return;
  const bool done =
      pixel.column > 0 && scene.codes[pixel.index - 1] == kCore && scene.codes[above - 1] == kCore;
  if (!done) Forest(scene.cells).unite(pixel.index, above);
}

// Neighbouring plateau pixels are as high as each other, or the lower one would climb.
__device__ __forceinline__ void unite_plateau(const Scene& scene, const Pixel& pixel) {
  for_neighbours<0, kNeighbours / 2>(scene, pixel, [&](int32_t other) {
    if (scene.codes[other] == kPlateau) Forest(scene.cells).unite(pixel.index, other);
  });
}

__global__ void unite(Scene scene) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const uint8_t code = scene.codes[pixel.index];
  if (code == kCore) unite_core(scene, pixel);
  if (code == kPlateau) unite_plateau(scene, pixel);
}

// The first neighbour that is as high as the plateau and climbs, or kNone.
__device__ __forceinline__ uint32_t exit_of(const Scene& scene, const Pixel& pixel) {
  const uint8_t height = distance_at(scene, pixel.index);
  uint32_t found = kNone;
  for_neighbours<0, kNeighbours>(scene, pixel, [&](int32_t other) {
    const uint8_t code = scene.codes[other];
    if (found != kNone || code < kClimb || code >= kPlateau) return;
    if (distance_at(scene, other) == height) found = static_cast<uint32_t>(other);
  });
  return found;
}

// `areas` is 0 and `exits` is kNone everywhere before.
__global__ void census(Scene scene, uint32_t* areas, uint32_t* exits) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const uint8_t code = scene.codes[pixel.index];
  if (code != kCore && code != kPlateau) return;
  const Forest forest(scene.cells);
  const int32_t root = forest.find(pixel.index);
  forest.point(pixel.index, root);
  if (code == kCore) {
    atomic_add(areas + root, 1u);
  } else {
    const uint32_t exit = exit_of(scene, pixel);
    if (exit != kNone) atomic_min(exits + root, exit);
  }
}

__global__ void settle(Scene scene, int64_t min_core, const uint32_t* areas,
                       const uint32_t* exits) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const uint8_t code = scene.codes[pixel.index];
  const Forest forest(scene.cells);
  if (forest.target(pixel.index) != pixel.index) return;
  if (code == kCore && areas[pixel.index] < min_core) scene.codes[pixel.index] = kSummit;
  if (code == kPlateau && exits[pixel.index] != kNone) {
    forest.point(pixel.index, static_cast<int32_t>(exits[pixel.index]));
  }
}

__global__ void jump(Scene scene) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const Forest forest(scene.cells);
  const int32_t target = forest.target(pixel.index);
  if (target >= 0 && target != pixel.index) forest.point(pixel.index, forest.target(target));
}

// The core's root, or -1.
__device__ __forceinline__ int32_t reach_core(const Scene& scene, int32_t pixel) {
  const Forest forest(scene.cells);
  int32_t next = forest.target(pixel);
  while (next >= 0 && next != pixel) {
    pixel = next;
    next = forest.target(pixel);
  }
  // Negative: another thread has just found that pixel coreless.
  return next >= 0 && scene.codes[next] == kCore ? next : -1;
}

__global__ void resolve(Scene scene) {
  Pixel pixel;
  if (!own_pixel(scene, pixel) || scene.codes[pixel.index] == kBackground) return;
  const int32_t root = reach_core(scene, pixel.index);
  if (root >= 0) {
    Forest(scene.cells).point(pixel.index, root);
  } else {
    CorelessForest(scene.cells).point(pixel.index, pixel.index);
  }
}

__global__ void unite_coreless(Scene scene) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const CorelessForest forest(scene.cells);
  if (forest.target(pixel.index) < 0) return;
  for_neighbours<0, kNeighbours / 2>(scene, pixel, [&](int32_t other) {
    if (forest.target(other) >= 0) forest.unite(pixel.index, other);
  });
}

// `gates` is 0 everywhere before.
__global__ void find_gates(Scene scene, uint64_t* gates) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const CorelessForest coreless(scene.cells);
  if (coreless.target(pixel.index) < 0) return;
  const int32_t root = coreless.find(pixel.index);
  coreless.point(pixel.index, root);
  uint64_t best = kernels::peak_key(distance_at(scene, pixel.index));
  for_neighbours<0, kNeighbours>(scene, pixel, [&](int32_t other) {
    if (Forest(scene.cells).target(other) < 0) return;
    const uint64_t key = kernels::gate_key(distance_at(scene, other), other);
    best = key > best ? key : best;
  });
  if (best > 0) atomic_max(gates + root, best);
}

// What stays coreless is background in the end.
__global__ void join(Scene scene, uint8_t min_peak, const uint64_t* gates) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const int32_t root = CorelessForest(scene.cells).target(pixel.index);
  if (root < 0) return;
  const uint64_t key = gates[root];
  const Forest forest(scene.cells);
  if (kernels::is_gate(key)) {
    // The pixel at the gate belongs to a core, whose cells nobody changes any more.
    forest.point(pixel.index, forest.target(kernels::gate_pixel(key)));
  } else if (key >= min_peak) {
    forest.point(pixel.index, root);
  }
}

// `areas` is 0 and `firsts` is kNone everywhere before.
__global__ void measure(Scene scene, uint32_t* areas, uint32_t* firsts) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const Forest forest(scene.cells);
  const int32_t root = forest.target(pixel.index);
  if (root < 0) return;
  atomic_add(areas + root, 1u);
  // The first pixel of a nucleus has no pixel of it to the left.
  if (pixel.column > 0 && forest.target(pixel.index - 1) == root) return;
  atomic_min(firsts + root, static_cast<uint32_t>(pixel.index));
}

// `marks` is 0 everywhere before. A nucleus that is dropped has no first pixel afterwards.
__global__ void mark(Scene scene, int64_t min_area, const uint32_t* areas, uint32_t* firsts,
                     uint8_t* marks) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  if (Forest(scene.cells).target(pixel.index) != pixel.index) return;
  if (areas[pixel.index] >= min_area) {
    marks[firsts[pixel.index]] = 1;
  } else {
    firsts[pixel.index] = kNone;
  }
}

__global__ void paint(Scene scene, const uint32_t* firsts, const uint8_t* marks,
                      const int32_t* before, int32_t* count) {
  Pixel pixel;
  if (!own_pixel(scene, pixel)) return;
  const int32_t last = scene.height * scene.width - 1;
  if (pixel.index == last) *count = before[last] + marks[last];
  const int32_t root = Forest(scene.cells).target(pixel.index);
  const uint32_t first = root < 0 ? kNone : firsts[root];
  scene.cells[pixel.index] = first == kNone ? 0 : before[first] + 1;
}

// The workspace's parts. What the steps need at different times shares memory.
struct Parts {
  uint32_t* areas;   // of cores, then of nuclei
  uint32_t* firsts;  // a plateau's first exit, then a nucleus's first pixel
  uint64_t* gates;   // where areas and firsts are
  int32_t* before;   // where areas are: how many nuclei begin before a pixel
  uint8_t* codes;
  uint8_t* marks;  // where codes are
  void* sum;
  size_t sum_bytes;
  size_t bytes;
};

size_t round_up(size_t bytes) { return (bytes + 255) / 256 * 256; }

Parts parts_of(void* workspace, int32_t pixels) {
  const auto count = static_cast<size_t>(pixels);
  auto* const memory = static_cast<uint8_t*>(workspace);
  const size_t pairs = round_up(count * sizeof(uint64_t));
  const size_t sum_bytes = running_sum_workspace(pixels);
  auto* const areas = reinterpret_cast<uint32_t*>(memory);
  uint8_t* const codes = memory + pairs;
  uint8_t* const sum = codes + round_up(count);
  return {areas,
          areas + count,
          reinterpret_cast<uint64_t*>(areas),
          reinterpret_cast<int32_t*>(areas),
          codes,
          codes,
          sum,
          sum_bytes,
          pairs + round_up(count) + sum_bytes};
}

void clear(void* memory, int value, size_t bytes, cudaStream_t stream) {
  NUCLEISEG_CHECK(cudaMemsetAsync(memory, value, bytes, stream));
}

void clear_tables(const Parts& parts, size_t pixels, cudaStream_t stream) {
  clear(parts.areas, 0, pixels * sizeof(uint32_t), stream);
  clear(parts.firsts, 0xff, pixels * sizeof(uint32_t), stream);
}

void reach_cores(const Scene& scene, const kernels::LabelRule& rule, const Parts& parts,
                 cudaStream_t stream) {
  const int64_t pixels = scene.pixels();
  clear_tables(parts, static_cast<size_t>(pixels), stream);
  launch_items(classify, pixels, stream, scene);
  launch_items(unite, pixels, stream, scene);
  launch_items(census, pixels, stream, scene, parts.areas, parts.firsts);
  launch_items(settle, pixels, stream, scene, rule.min_core, parts.areas, parts.firsts);
  for (int i = 0; i < kJumps; ++i) launch_items(jump, pixels, stream, scene);
  launch_items(resolve, pixels, stream, scene);
}

void join_coreless(const Scene& scene, const kernels::LabelRule& rule, const Parts& parts,
                   cudaStream_t stream) {
  const int64_t pixels = scene.pixels();
  clear(parts.gates, 0, static_cast<size_t>(pixels) * sizeof(uint64_t), stream);
  launch_items(unite_coreless, pixels, stream, scene);
  launch_items(find_gates, pixels, stream, scene, parts.gates);
  launch_items(join, pixels, stream, scene, rule.min_peak, parts.gates);
}

void number_nuclei(const Scene& scene, const kernels::LabelRule& rule, const Parts& parts,
                   int32_t* count, cudaStream_t stream) {
  const int64_t pixels = scene.pixels();
  clear_tables(parts, static_cast<size_t>(pixels), stream);
  clear(parts.marks, 0, static_cast<size_t>(pixels), stream);
  launch_items(measure, pixels, stream, scene, parts.areas, parts.firsts);
  launch_items(mark, pixels, stream, scene, rule.min_area, parts.areas, parts.firsts, parts.marks);
  running_sum(parts.marks, parts.before, scene.pixels(), parts.sum, parts.sum_bytes, stream);
  launch_items(paint, pixels, stream, scene, parts.firsts, parts.marks, parts.before, count);
}

}  // namespace

size_t label_workspace(int64_t height, int64_t width) {
  return parts_of(nullptr, static_cast<int32_t>(height * width)).bytes;
}

void label(const ImageView& maps, const kernels::LabelRule& rule, int32_t* labels, int32_t* count,
           void* workspace, cudaStream_t stream) {
  const auto height = static_cast<int32_t>(maps.height);
  const auto width = static_cast<int32_t>(maps.width);
  const Parts parts = parts_of(workspace, height * width);
  const Scene scene = {maps,   height,     width, rule.nucleus_threshold, rule.core_threshold,
                       labels, parts.codes};
  reach_cores(scene, rule, parts, stream);
  join_coreless(scene, rule, parts, stream);
  number_nuclei(scene, rule, parts, count, stream);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
