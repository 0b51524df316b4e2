// Convolutions by products of matrices: every warp computes some rows of the patch.
#include "cuda/matrix.h"
#include "cuda/network_convolve.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

template <class Shape>
class MatrixSums {
 public:
  using Everyones = PerWarp<MatrixSums, kPatchWarps>;
  static constexpr int kBlocks = Shape::warp_rows * Shape::tiles < 16 ? 4 : 3;

  template <class Body>
  static __device__ __forceinline__ void each(Body&& body) {
    warp_phase(body);
  }

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

}  // namespace

template <>
constexpr bool kHasLargePatches<MatrixSums> = true;

void convolve_with_matrix(const Convolution& work, const Form& form, cudaStream_t stream) {
  launch_form<MatrixSums>(work, form, stream);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
