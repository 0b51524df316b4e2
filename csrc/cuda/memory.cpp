#include "cuda/memory.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

DeviceMemory::DeviceMemory(size_t bytes) {
  if (bytes > 0) NUCLEISEG_CHECK(cudaMalloc(&data_, bytes));
}

DeviceMemory::~DeviceMemory() { cudaFree(data_); }

PinnedMemory::PinnedMemory(size_t bytes, bool mapped) {
  if (bytes == 0) return;
  const unsigned flags = cudaHostAllocPortable | (mapped ? cudaHostAllocMapped : 0u);
  NUCLEISEG_CHECK(cudaHostAlloc(&data_, bytes, flags));
  if (!mapped) return;
  const cudaError_t error = cudaHostGetDevicePointer(&device_, data_, 0);
  if (error == cudaSuccess) return;
  cudaFreeHost(data_);
  fail(error, "cudaHostGetDevicePointer");
}

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

namespace {

cudaPointerAttributes attributes_of(const void* address) {
  cudaPointerAttributes found;
  NUCLEISEG_CHECK(cudaPointerGetAttributes(&found, address));
  return found;
}

bool is_on_device(const cudaPointerAttributes& found) {
  return found.type == cudaMemoryTypeDevice || found.type == cudaMemoryTypeManaged;
}

}  // namespace

Place place_of(const void* address) {
  const cudaPointerAttributes found = attributes_of(address);
  return {
      is_on_device(found) || (found.type == cudaMemoryTypeHost && found.devicePointer == address),
      found.device};
}

bool is_device_memory(const void* address) {
  return address && is_on_device(attributes_of(address));
}

bool is_page_locked(const void* address) {
  return address && attributes_of(address).type == cudaMemoryTypeHost;
}

void copy(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  if (bytes > 0) NUCLEISEG_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream));
}

void fill(void* memory, uint8_t byte, size_t bytes, cudaStream_t stream) {
  if (bytes > 0) NUCLEISEG_CHECK(cudaMemsetAsync(memory, byte, bytes, stream));
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
