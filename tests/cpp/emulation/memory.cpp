#include <atomic>
#include <cstdlib>
#include <cstring>

#include "emulation/state.h"

namespace emulation {
namespace {

constexpr size_t kAlignment = 256;  // of cudaMalloc
// New memory is no zeros: what reads it before it is written gets a wrong result.
constexpr int kFresh = 0xA5;

Error allocate(void** memory, size_t bytes, bool pinned, bool mapped) {
  const Lock lock;
  State& all = state();
  *memory = nullptr;
  if (is_capturing()) return cudaErrorStreamCaptureUnsupported;
  if (bytes == 0) return cudaSuccess;
  if (!pinned && all.usage.device_bytes + bytes > all.device_bytes) {
    return cudaErrorMemoryAllocation;
  }
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* const block = std::aligned_alloc(kAlignment, rounded);
  if (block == nullptr) return cudaErrorMemoryAllocation;
  std::memset(block, kFresh, rounded);
  all.blocks[reinterpret_cast<uintptr_t>(block)] = {bytes, pinned, mapped};
  (pinned ? all.usage.pinned_bytes : all.usage.device_bytes) += bytes;
  *memory = block;
  return cudaSuccess;
}

// The block that holds the address, or the end.
std::map<uintptr_t, Block>::const_iterator block_of(const void* memory) {
  const auto& blocks = state().blocks;
  const auto address = reinterpret_cast<uintptr_t>(memory);
  auto after = blocks.upper_bound(address);
  if (after == blocks.begin()) return blocks.end();
  --after;
  return address < after->first + after->second.bytes ? after : blocks.end();
}

// As NVIDIA's: freeing waits for all work of the device.
Error release(void* memory, bool pinned) {
  if (memory == nullptr) return cudaSuccess;
  const Lock lock;
  State& all = state();
  if (is_capturing()) return cudaErrorStreamCaptureUnsupported;
  const auto found = all.blocks.find(reinterpret_cast<uintptr_t>(memory));
  if (found == all.blocks.end() || found->second.pinned != pinned) return cudaErrorInvalidValue;
  (pinned ? all.usage.pinned_bytes : all.usage.device_bytes) -= found->second.bytes;
  all.late.push_back(memory);
  free_late();
  return cudaSuccess;
}

std::atomic<int64_t> copy_count{0};

enum class Place { kPageable, kKnown, kBeyond };

Place place_of(const void* memory, size_t bytes) {
  const auto block = block_of(memory);
  if (block == state().blocks.end()) return Place::kPageable;
  const size_t offset = reinterpret_cast<uintptr_t>(memory) - block->first;
  return bytes <= block->second.bytes - offset ? Place::kKnown : Place::kBeyond;
}

}  // namespace

void free_late() {
  State& all = state();
  if (all.busy > 0 || all.late.empty()) return;
  const std::vector<void*> blocks = std::move(all.late);
  all.late.clear();
  std::vector<std::shared_ptr<Queue>> queues;  // work may destroy streams
  for (const Stream* stream : all.streams) queues.push_back(stream->queue);
  for (const auto& queue : queues) queue->finish(queue->given);
  for (void* block : blocks) {
    all.blocks.erase(reinterpret_cast<uintptr_t>(block));
    std::free(block);
  }
}

int64_t copies() { return copy_count; }

Error cudaMalloc(void** memory, size_t bytes) { return allocate(memory, bytes, false, false); }
Error cudaFree(void* memory) { return release(memory, false); }
Error cudaFreeHost(void* memory) { return release(memory, true); }

Error cudaHostAlloc(void** memory, size_t bytes, unsigned flags) {
  return allocate(memory, bytes, true, (flags & cudaHostAllocMapped) != 0);
}

Error cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  const Lock lock;
  const auto block = block_of(host);
  if (block == state().blocks.end() || !block->second.mapped) return cudaErrorInvalidValue;
  *device = host;
  return cudaSuccess;
}

Error cudaPointerGetAttributes(PointerAttributes* attributes, const void* memory) {
  const Lock lock;
  const auto block = block_of(memory);
  *attributes = {cudaMemoryTypeUnregistered, -2, nullptr};
  if (block == state().blocks.end()) return cudaSuccess;
  const bool pinned = block->second.pinned;
  const bool reached = !pinned || block->second.mapped;
  *attributes = {pinned ? cudaMemoryTypeHost : cudaMemoryTypeDevice, 0,
                 reached ? const_cast<void*>(memory) : nullptr};
  return cudaSuccess;
}

// As NVIDIA's: pageable memory is read before the call returns, and is written before it returns,
// which waits for the stream.
Error cudaMemcpyAsync(void* to, const void* from, size_t bytes, CopyKind, Stream* stream) {
  ++copy_count;
  const Lock lock;
  stream = resolve(stream);
  const Place target = place_of(to, bytes);
  const Place source = place_of(from, bytes);
  if (target == Place::kBeyond || source == Place::kBeyond) return cudaErrorInvalidValue;
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  const bool pageable = target == Place::kPageable || source == Place::kPageable;
  if (pageable && stream->capture) return cudaErrorStreamCaptureUnsupported;
  if (source == Place::kPageable) {
    const auto* first = static_cast<const char*>(from);
    const auto staged = std::make_shared<std::vector<char>>(first, first + bytes);
    return enqueue(stream, [=] { std::memcpy(to, staged->data(), bytes); });
  }
  const Error error = enqueue(stream, [=] { std::memmove(to, from, bytes); });
  return error == cudaSuccess && pageable ? cudaStreamSynchronize(stream) : error;
}

Error cudaMemsetAsync(void* memory, int value, size_t bytes, Stream* stream) {
  const Lock lock;
  if (place_of(memory, bytes) != Place::kKnown) return cudaErrorInvalidValue;
  return enqueue(stream, [=] { std::memset(memory, value, bytes); });
}

}  // namespace emulation
