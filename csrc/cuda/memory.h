// Memory of the device, and page-locked memory of the host.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/check.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

// Freeing waits for all work of the device, as cudaFree does.
class DeviceMemory {
 public:
  explicit DeviceMemory(size_t bytes);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

class PinnedMemory {
 public:
  // Where `mapped`, kernels can use it in place under the address device(): no copy on devices that
  // share their memory with the host.
  PinnedMemory(size_t bytes, bool mapped);
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  void* data() const { return data_; }
  void* device() const { return device_; }

 private:
  void* data_ = nullptr;
  void* device_ = nullptr;
};

// Where an address lies.
struct Place {
  bool is_reachable;  // by kernels, if they run on `device`
  int device;
};

Place place_of(const void* address);

// Whether an address lies in the memory of a device, and whether in page-locked memory of the host.
// Neither is so for null.
bool is_device_memory(const void* address);
bool is_page_locked(const void* address);

// Between any two places; page-locked ones on the host. Does not wait.
void copy(void* to, const void* from, size_t bytes, cudaStream_t stream);

void fill(void* memory, uint8_t byte, size_t bytes, cudaStream_t stream);

}  // namespace nucleiseg::NUCLEISEG_DEVICE
