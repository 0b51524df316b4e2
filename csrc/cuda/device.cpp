#include "cuda/device.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

int device_count() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver) {
    cudaGetLastError();
    return 0;
  }
  check(error, "cudaGetDeviceCount");
  return count;
}

Device device(int index) {
  cudaDeviceProp found;
  NUCLEISEG_CHECK(cudaGetDeviceProperties(&found, index));
  return {found.name,           found.major,          found.minor, found.multiProcessorCount,
          found.totalGlobalMem, found.integrated != 0};
}

int current_device() {
  int index = 0;
  NUCLEISEG_CHECK(cudaGetDevice(&index));
  return index;
}

void set_device(int index) { NUCLEISEG_CHECK(cudaSetDevice(index)); }

std::pair<size_t, size_t> memory() {
  size_t free = 0;
  size_t total = 0;
  NUCLEISEG_CHECK(cudaMemGetInfo(&free, &total));
  return {free, total};
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
