// What devices there are. All work is in a device's primary context, which the CUDA runtime shares
// with CuPy, PyTorch and pycuda's autoprimaryctx.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "cuda/check.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

struct Device {
  std::string name;
  int major;  // of the compute capability
  int minor;
  int multiprocessors;
  size_t memory_bytes;
  bool integrated;  // shares its memory with the host
};

// 0 where there is no driver either.
int device_count();
Device device(int index);

// Of the calling thread.
int current_device();
void set_device(int index);

// Free and all bytes of the current device.
std::pair<size_t, size_t> memory();

}  // namespace nucleiseg::NUCLEISEG_DEVICE
