#include <cub/device/device_scan.cuh>

#include "cuda/scan.h"

namespace nucleiseg::cuda {
namespace {

// The sum starts as int32, so that bytes do not overflow.
struct Plus {
  __host__ __device__ __forceinline__ int32_t operator()(int32_t a, int32_t b) const {
    return a + b;
  }
};

}  // namespace

size_t running_sum_workspace(int32_t count) {
  // CUB would call a missing driver an invalid device.
  int index = 0;
  NUCLEISEG_CHECK(cudaGetDevice(&index));
  size_t bytes = 0;
  NUCLEISEG_CHECK(
      cub::DeviceScan::ExclusiveScan(nullptr, bytes, static_cast<const uint8_t*>(nullptr),
                                     static_cast<int32_t*>(nullptr), Plus{}, int32_t{0}, count));
  return bytes;
}

void running_sum(const uint8_t* flags, int32_t* sums, int32_t count, void* workspace,
                 size_t workspace_bytes, cudaStream_t stream) {
  NUCLEISEG_CHECK(cub::DeviceScan::ExclusiveScan(workspace, workspace_bytes, flags, sums, Plus{},
                                                 int32_t{0}, count, stream));
}

}  // namespace nucleiseg::cuda
