// The part of the CUDA runtime that nucleiseg uses, played by the host.
//
// A stream keeps its work and does none of it until something waits for the stream, asks whether it
// has finished, or waits for an event of it. So a missing wait is a wrong result, every time.
// Names, values and rules are those of NVIDIA's "CUDA Runtime API", of which this is no more than
// what the sources of csrc/cuda and csrc/bindings/device call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulation {

struct Stream;
struct Event;
struct Graph;

enum Error {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureUnmatched = 903,
  cudaErrorStreamCaptureUnjoined = 904,
};

enum CopyKind { cudaMemcpyDefault = 4 };
enum CaptureMode { cudaStreamCaptureModeGlobal = 0, cudaStreamCaptureModeThreadLocal = 1 };

constexpr unsigned cudaStreamNonBlocking = 1;
constexpr unsigned cudaEventDefault = 0;
constexpr unsigned cudaEventDisableTiming = 2;
constexpr unsigned cudaHostAllocPortable = 1;
constexpr unsigned cudaHostAllocMapped = 2;

struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};

enum MemoryType {
  cudaMemoryTypeUnregistered = 0,
  cudaMemoryTypeHost = 1,
  cudaMemoryTypeDevice = 2,
  cudaMemoryTypeManaged = 3,
};

struct PointerAttributes {
  MemoryType type;
  int device;
  void* devicePointer;
};

struct DeviceProperties {
  char name[256];
  size_t totalGlobalMem;
  int major;
  int minor;
  int multiProcessorCount;
  int integrated;
  int canMapHostMemory;
};

Error cudaGetDeviceCount(int* count);
Error cudaSetDevice(int device);
Error cudaGetDevice(int* device);
Error cudaGetDeviceProperties(DeviceProperties* properties, int device);
Error cudaMemGetInfo(size_t* free, size_t* total);
Error cudaDriverGetVersion(int* version);
Error cudaRuntimeGetVersion(int* version);
Error cudaGetLastError();
const char* cudaGetErrorName(Error error);
const char* cudaGetErrorString(Error error);

Error cudaMalloc(void** memory, size_t bytes);
Error cudaFree(void* memory);
Error cudaHostAlloc(void** memory, size_t bytes, unsigned flags);
Error cudaFreeHost(void* memory);
Error cudaPointerGetAttributes(PointerAttributes* attributes, const void* memory);
Error cudaHostGetDevicePointer(void** device, void* host, unsigned flags);
Error cudaMemcpyAsync(void* to, const void* from, size_t bytes, CopyKind kind, Stream* stream);
Error cudaMemsetAsync(void* memory, int value, size_t bytes, Stream* stream);

Error cudaStreamCreateWithFlags(Stream** stream, unsigned flags);
Error cudaStreamDestroy(Stream* stream);
Error cudaStreamSynchronize(Stream* stream);
Error cudaStreamQuery(Stream* stream);
Error cudaStreamWaitEvent(Stream* stream, Event* event, unsigned flags);
Error cudaStreamBeginCapture(Stream* stream, CaptureMode mode);
Error cudaStreamEndCapture(Stream* stream, Graph** graph);

Error cudaEventCreateWithFlags(Event** event, unsigned flags);
Error cudaEventDestroy(Event* event);
Error cudaEventRecord(Event* event, Stream* stream);
Error cudaEventQuery(Event* event);
Error cudaEventSynchronize(Event* event);
Error cudaEventElapsedTime(float* milliseconds, Event* start, Event* end);

Error cudaGraphInstantiate(Graph** executable, Graph* graph, unsigned long long flags);
Error cudaGraphLaunch(Graph* executable, Stream* stream);
Error cudaGraphDestroy(Graph* graph);
Error cudaGraphExecDestroy(Graph* executable);

}  // namespace emulation

using namespace emulation;

using cudaError_t = emulation::Error;
using cudaStream_t = emulation::Stream*;
using cudaEvent_t = emulation::Event*;
using cudaGraph_t = emulation::Graph*;
using cudaGraphExec_t = emulation::Graph*;
using cudaPointerAttributes = emulation::PointerAttributes;
using cudaMemoryType = emulation::MemoryType;
using cudaDeviceProp = emulation::DeviceProperties;

// The stream that other libraries use unless they are told otherwise. None of the emulated streams
// waits for it by itself.
#define cudaStreamLegacy (reinterpret_cast<cudaStream_t>(1))
