// Convolutions by products of matrices: every warp computes two rows of the patch.
#include "cuda/matrix.h"
#include "cuda/network_convolve.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

template <class Shape>
class MatrixSums {
 public:
  using Everyones = PerWarp<MatrixSums, kPatchThreads / kWarp>;

  template <class Body>
  static __device__ __forceinline__ void each(Body&& body) {
    warp_phase(body);
  }

  __device__ __forceinline__ void clear() {
    NUCLEISEG_UNROLL for (int i = 0; i < kRows; ++i) rows_[i].clear();
  }

  __device__ __forceinline__ void add(const uint4* patch, const uint4* weights) {
    const uint4* const pixels = patch + first_row() * Shape::columns;
    NUCLEISEG_UNROLL for (int slice = 0; slice < Shape::all_slices; slice += 2) {
      // The last slice of an odd number is multiplied by zeros.
      const int other = slice + 1 < Shape::all_slices ? slice + 1 : slice;
      const uint4* const one = pixels + Shape::offset(slice);
      const uint4* const two = pixels + Shape::offset(other);
      const Left lefts[kRows] = {{one, two}, {one + Shape::columns, two + Shape::columns}};
      NUCLEISEG_UNROLL for (int tile = 0; tile < Shape::tiles; ++tile) {
        const uint4* const column = weights + slice * Shape::outputs + tile * kTile;
        const Right right(column, column + Shape::outputs);
        NUCLEISEG_UNROLL for (int i = 0; i < kRows; ++i) rows_[i].add(lefts[i], right, tile);
      }
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
  static constexpr int kRows = 2;
  static_assert(kRows * kPatchThreads / kWarp == kPatchRows);

  static __device__ __forceinline__ int first_row() {
    return static_cast<int>(threadIdx.x) / kWarp * kRows;
  }

  Products<Shape::tiles> rows_[kRows];
};

}  // namespace

void convolve_with_matrix(const Convolution& work, const Form& form, cudaStream_t stream) {
  launch_form<MatrixSums>(work, form, stream);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
