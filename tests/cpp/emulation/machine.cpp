#include "emulation/machine.h"

#include <atomic>

#include "emulation/state.h"

namespace emulation {
namespace {

std::atomic<uint64_t> orders{0};

struct Named {
  Error error;
  const char* name;
  const char* text;
};

// The texts are those of NVIDIA's runtime.
constexpr Named kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not initiated in this stream"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
};

const Named& named(Error error) {
  for (const Named& candidate : kErrors) {
    if (candidate.error == error) return candidate;
  }
  return kErrors[1];
}

}  // namespace

State& state() {
  static State* const only = new State;  // outlives every object that Python destroys late
  return *only;
}

Stream* resolve(Stream* stream) { return stream == cudaStreamLegacy ? &state().legacy : stream; }

void set_blocking(void (*block)(std::recursive_mutex&)) {
  const Lock lock;
  state().block = block;
}

void set_seed(uint64_t seed) { orders = seed * 0x9e3779b97f4a7c15u; }
uint64_t next_order() { return orders.fetch_add(1); }

void set_device(size_t bytes, bool integrated) {
  const Lock lock;
  state().device_bytes = bytes;
  state().integrated = integrated;
}

Usage usage() {
  const Lock lock;
  return state().usage;
}

const char* cudaGetErrorName(Error error) { return named(error).name; }
const char* cudaGetErrorString(Error error) { return named(error).text; }
Error cudaGetLastError() { return cudaSuccess; }

Error cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

Error cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

Error cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

Error cudaGetDeviceProperties(DeviceProperties* properties, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  const Lock lock;
  *properties = {"emulated on the host", state().device_bytes, 0, 0, 1, state().integrated, 1};
  return cudaSuccess;
}

Error cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock;
  const size_t used = state().usage.device_bytes;
  *total = state().device_bytes;
  *free = used < *total ? *total - used : 0;
  return cudaSuccess;
}

Error cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

Error cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

}  // namespace emulation
