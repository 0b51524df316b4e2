// Convolutions by sums of four products at once: every thread computes some pixels of 8 columns.
#include "cuda/network_convolve.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

static __device__ __forceinline__ int32_t dot16(const uint4& a, const uint4& b, int32_t sum) {
  return dot4(a.w, b.w, dot4(a.z, b.z, dot4(a.y, b.y, dot4(a.x, b.x, sum))));
}

template <class Shape>
class DotSums {
 public:
  using Everyones = PerThread<DotSums, kPatchThreads>;
  static constexpr int kBlocks = 3;

  template <class Body>
  static __device__ __forceinline__ void each(Body&& body) {
    phase(body);
  }

  __device__ __forceinline__ void clear() {
    NUCLEISEG_UNROLL for (int i = 0; i < kPixels; ++i) {
      NUCLEISEG_UNROLL for (int j = 0; j < kTile; ++j) sums_[i][j] = 0;
    }
  }

  __device__ __forceinline__ void add(const uint4* patch, const uint4* weights) {
    const uint4* pixels = patch + row(0) * Shape::columns + column();
    const uint4* columns = weights + first_output();
    NUCLEISEG_NO_UNROLL for (int turn = 0; turn < Shape::side; ++turn) {
      add_row(pixels, columns);
      pixels += Shape::columns;
      columns += Shape::row_slices * Shape::outputs;
    }
  }

  __device__ __forceinline__ void write(const Convolution& work, const Place& place) const {
    NUCLEISEG_UNROLL for (int i = 0; i < kPixels; ++i) {
      write_sums<Shape>(work, place, row(i), column(), first_output(), sums_[i]);
    }
  }

 private:
  // Adds the products of the pixels in one row under the kernel.
  __device__ __forceinline__ void add_row(const uint4* pixels, const uint4* columns) {
    NUCLEISEG_UNROLL for (int slice = 0; slice < Shape::row_slices; ++slice) {
      uint4 values[kPixels];
      NUCLEISEG_UNROLL for (int i = 0; i < kPixels; ++i) {
        values[i] = pixels[Shape::offset(slice) + i * kRowStep * Shape::columns];
      }
      NUCLEISEG_UNROLL for (int j = 0; j < kTile; ++j) {
        const uint4 weight = columns[slice * Shape::outputs + j];
        NUCLEISEG_UNROLL for (int i = 0; i < kPixels; ++i) {
          sums_[i][j] = dot16(values[i], weight, sums_[i][j]);
        }
      }
    }
  }

  // As many as make all threads' pixels the patch for each tile of columns.
  static constexpr int kPixels = Shape::tiles;
  static_assert(Shape::patch_rows * kPatchColumns == kPatchThreads);
  static constexpr int kThreadsOfTile = kPatchThreads / Shape::tiles;
  static constexpr int kRowStep = kThreadsOfTile / kPatchColumns;

  static __device__ __forceinline__ int thread() { return static_cast<int>(threadIdx.x); }
  static __device__ __forceinline__ int row(int i) {
    return thread() % kThreadsOfTile / kPatchColumns + i * kRowStep;
  }
  static __device__ __forceinline__ int column() { return thread() % kPatchColumns; }
  static __device__ __forceinline__ int first_output() { return thread() / kThreadsOfTile * kTile; }

  int32_t sums_[kPixels][kTile];
};

}  // namespace

void convolve_with_dot(const Convolution& work, const Form& form, cudaStream_t stream) {
  launch_form<DotSums>(work, form, stream);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
