// Convolutions by products of matrices: every block of threads computes a patch of pixels of some
// output columns, and each of its warps some rows of the patch.
//
// A chunk of the channels of the patch's sources, with a border for 3 x 3, and of the weights is in
// shared memory while the next chunk is on its way there. A patch has a plane for each unit of its
// pixels, so that neighbouring pixels are neighbouring units: no two threads that read at once want
// the same bank.
#include "cuda/matrix.h"
#include "cuda/network_level.h"
#include "cuda/network_work.h"
#include "kernels/tiles.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

constexpr int kPatchColumns = 16;
constexpr int kPatchThreads = 128;
constexpr int kPatchWarps = kPatchThreads / kWarp;

// A form, and how many rows of a patch each warp has.
template <int taps_, int slices_, int tiles_, int warp_rows_>
struct Shape {
  static constexpr int taps = taps_;
  static constexpr int slices = slices_;
  static constexpr int tiles = tiles_;
  static constexpr int warp_rows = warp_rows_;
  static constexpr int patch_rows = warp_rows * kPatchWarps;
  static constexpr int border = taps == 9 ? 1 : 0;
  static constexpr int columns = kPatchColumns + 2 * border;
  static constexpr int plane = (patch_rows + 2 * border) * columns;
  static constexpr int patch_units = slices * plane;
  static constexpr int outputs = kTile * tiles;
  static constexpr int side = taps == 9 ? 3 : 1;
  static constexpr bool is_last = outputs == kernels::kCellBytes;
  static constexpr int row_slices = side * slices;
  static constexpr int weight_units = padded_slices({taps, slices, tiles}) * outputs;

  // Where a slice's unit of the patch's first pixel is.
  static __host__ __device__ constexpr int offset(int slice) {
    const int tap = slice / slices;
    return slice % slices * plane + tap / side * columns + tap % side;
  }
};

template <class Shape>
int64_t blocks_of(const Convolution& work) {
  const int64_t across = (work.width + kPatchColumns - 1) / kPatchColumns;
  const int64_t down = (work.height + Shape::patch_rows - 1) / Shape::patch_rows;
  return work.count * down * across * (work.columns * work.out_rows / Shape::outputs);
}

// The patch and the output columns of a block. Blocks of one patch are neighbours.
struct Place {
  uint32_t block;  // of output columns
  uint32_t tile;
  int32_t row;
  int32_t column;
  int32_t output;  // the first column
  uint8_t* out;    // of row 0, column 0 of the tile, where the first column is

  template <class Shape>
  static __device__ __forceinline__ Place of_block(const Convolution& work) {
    Place place;
    uint32_t rest = blockIdx.x;
    const uint32_t blocks = static_cast<uint32_t>(work.columns * work.out_rows) / Shape::outputs;
    place.block = rest % blocks;
    rest /= blocks;
    const uint32_t across = (static_cast<uint32_t>(work.width) + kPatchColumns - 1) / kPatchColumns;
    place.column = static_cast<int32_t>(rest % across) * kPatchColumns;
    rest /= across;
    const uint32_t down =
        (static_cast<uint32_t>(work.height) + Shape::patch_rows - 1) / Shape::patch_rows;
    place.row = static_cast<int32_t>(rest % down) * Shape::patch_rows;
    place.tile = rest / down;
    const int32_t output = static_cast<int32_t>(place.block) * Shape::outputs;
    const int32_t out_row = output / work.columns;
    place.output = output % work.columns;
    const int64_t line = int64_t{place.tile} * work.height * work.out_rows + out_row;
    place.out = work.out + line * work.width * work.columns + place.output;
    return place;
  }
};

template <class Shape>
__device__ __forceinline__ void begin_patch(const Convolution& work, const Place& place, int chunk,
                                            uint4* patch) {
  const int chunks = work.units / Shape::slices;
  const uint4* const all = chunk < chunks ? work.sources[0] + chunk * Shape::slices
                                          : work.sources[1] + (chunk - chunks) * Shape::slices;
  const uint4* const source = all + int64_t{place.tile} * work.height * work.width * work.units;
  constexpr int turns = (Shape::patch_units + kPatchThreads - 1) / kPatchThreads;
  NUCLEISEG_UNROLL for (int turn = 0; turn < turns; ++turn) {
    const int i = turn * kPatchThreads + static_cast<int>(threadIdx.x);
    if (i >= Shape::patch_units) break;
    const int pixel = i / Shape::slices;
    const int unit = i % Shape::slices;
    const int32_t row = place.row + pixel / Shape::columns - Shape::border;
    const int32_t column = place.column + pixel % Shape::columns - Shape::border;
    const bool inside = 0 <= row && row < work.height && 0 <= column && column < work.width;
    const int32_t at = inside ? (row * work.width + column) * work.units + unit : 0;
    begin_copy(patch + unit * Shape::plane + pixel, source + at, inside);
  }
}

template <class Shape>
__device__ __forceinline__ void begin_weights(const Convolution& work, const Place& place,
                                              int chunk, uint4* weights) {
  const uint32_t chunks = static_cast<uint32_t>(work.units / Shape::slices * work.source_count);
  const uint4* const from = work.weights + (place.block * chunks + static_cast<uint32_t>(chunk)) *
                                               uint32_t{Shape::weight_units};
  constexpr int turns = (Shape::weight_units + kPatchThreads - 1) / kPatchThreads;
  NUCLEISEG_UNROLL for (int turn = 0; turn < turns; ++turn) {
    const int i = turn * kPatchThreads + static_cast<int>(threadIdx.x);
    if (i < Shape::weight_units) begin_copy(weights + i, from + i, true);
  }
}

// Writes `count` sums, from a column of the block's on, of a pixel of the patch.
template <class Shape, int count>
__device__ __forceinline__ void write_sums(const Convolution& work, const Place& place, int row,
                                           int column, int first, const int32_t (&sums)[count]) {
  const int32_t at_row = place.row + row;
  const int32_t at_column = place.column + column;
  if (at_row >= work.height || at_column >= work.width) return;
  const int64_t pixel = int64_t{at_row} * work.out_rows * work.width + at_column;
  write_levels<Shape::is_last>(sums, work.levels, place.output + first,
                               place.out + pixel * work.columns + first);
}

template <class Shape>
class WarpSums {
 public:
  static constexpr int kBlocks = Shape::warp_rows * Shape::tiles < 16 ? 4 : 3;

  __device__ __forceinline__ void clear() {
    NUCLEISEG_UNROLL for (int i = 0; i < kRows; ++i) rows_[i].clear();
  }

  __device__ __forceinline__ void add(const uint4* patch, const uint4* weights) {
    const uint4* pixels = patch + first_row() * Shape::columns;
    NUCLEISEG_NO_UNROLL for (int turn = 0; turn < kTurns; ++turn) {
      add_pairs(pixels, weights);
      pixels += Shape::columns;
      weights += kTurnSlices * Shape::outputs;
    }
  }

  __device__ __forceinline__ void write(const Convolution& work, const Place& place) const {
    NUCLEISEG_UNROLL for (int i = 0; i < kRows; ++i) {
      const int row = first_row() + i;
      rows_[i].for_each([&](int column, int part, const auto& sums) {
        write_sums<Shape>(work, place, row, column, part * 2 * Shape::tiles, sums);
      });
    }
  }

 private:
  // Pairs of slices do not go across the rows under the kernel, unless all are one turn.
  static constexpr int kTurns = Shape::row_slices % 2 == 0 ? Shape::side : 1;
  static constexpr int kTurnSlices = Shape::taps * Shape::slices / kTurns;

  __device__ __forceinline__ void add_pairs(const uint4* pixels, const uint4* weights) {
    NUCLEISEG_UNROLL for (int slice = 0; slice < kTurnSlices; slice += 2) {
      // The last slice of an odd number is multiplied by zeros.
      const int other = slice + 1 < kTurnSlices ? slice + 1 : slice;
      Left lefts[kRows];
      NUCLEISEG_UNROLL for (int i = 0; i < kRows; ++i) {
        const uint4* const row = pixels + i * Shape::columns;
        lefts[i].load(row + Shape::offset(slice), row + Shape::offset(other));
      }
      NUCLEISEG_UNROLL for (int tile = 0; tile < Shape::tiles; ++tile) {
        const uint4* const column = weights + slice * Shape::outputs + tile * kTile;
        Right right;
        right.load(column, column + Shape::outputs);
        NUCLEISEG_UNROLL for (int i = 0; i < kRows; ++i) rows_[i].add(lefts[i], right, tile);
      }
    }
  }

  static constexpr int kRows = Shape::warp_rows;

  static __device__ __forceinline__ int first_row() {
    return static_cast<int>(threadIdx.x) / kWarp * kRows;
  }

  Products<Shape::tiles> rows_[kRows];
};

template <class Shape>
__global__ NUCLEISEG_LAUNCHED_WITH(kPatchThreads, WarpSums<Shape>::kBlocks) void convolve_patches(
    Convolution work) {
  __shared__ uint4 patch[2][Shape::patch_units];
  __shared__ uint4 weights[2][Shape::weight_units];
  PerWarp<WarpSums<Shape>, kPatchWarps> sums;
  const Place place = Place::of_block<Shape>(work);
  const int chunks = work.units / Shape::slices * work.source_count;
  const auto begin = [&](int chunk) {
    begin_patch<Shape>(work, place, chunk, patch[chunk % 2]);
    begin_weights<Shape>(work, place, chunk, weights[chunk % 2]);
    mark_copies();
  };
  warp_phase([&] { sums.own().clear(); });
  for (int chunk = 0; chunk < chunks; ++chunk) {
    phase([&] {
      if (chunk == 0) begin(0);
      if (chunk + 1 < chunks) {
        begin(chunk + 1);
        wait_for_copies<1>();
      } else {
        wait_for_copies<0>();
      }
    });
    warp_phase([&] { sums.own().add(patch[chunk % 2], weights[chunk % 2]); });
  }
  warp_phase([&] { sums.own().write(work, place); });
}

template <class Shape>
void launch_shape(const Convolution& work, cudaStream_t stream) {
  launch_blocks(convolve_patches<Shape>, blocks_of<Shape>(work), kPatchThreads, stream, work);
}

// Large patches read fewer pixels twice; small ones are enough blocks for small tensors.
template <int taps, int slices, int tiles>
void launch_form(const Convolution& work, cudaStream_t stream) {
  using Large = Shape<taps, slices, tiles, 4>;
  if (blocks_of<Large>(work) >= work.enough_blocks) return launch_shape<Large>(work, stream);
  launch_shape<Shape<taps, slices, tiles, 2>>(work, stream);
}

}  // namespace

void convolve(const Convolution& work, const Form& form, cudaStream_t stream) {
  struct Entry {
    Form form;
    void (*launch)(const Convolution&, cudaStream_t);
  };
  constexpr Entry entries[] = {
      {{9, 1, 1}, launch_form<9, 1, 1>}, {{9, 1, 2}, launch_form<9, 1, 2>},
      {{9, 1, 4}, launch_form<9, 1, 4>}, {{9, 2, 1}, launch_form<9, 2, 1>},
      {{9, 2, 2}, launch_form<9, 2, 2>}, {{9, 2, 4}, launch_form<9, 2, 4>},
      {{1, 1, 4}, launch_form<1, 1, 4>}, {{1, 2, 4}, launch_form<1, 2, 4>},
  };
  for (const Entry& entry : entries) {
    if (entry.form.taps == form.taps && entry.form.slices == form.slices &&
        entry.form.tiles == form.tiles) {
      return entry.launch(work, stream);
    }
  }
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
