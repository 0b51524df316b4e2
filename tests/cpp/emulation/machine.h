// What only the emulation has: its work queue, and the knobs that tests turn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>

#include "emulation/cuda_runtime.h"

namespace emulation {

// Puts work at the end of a stream, or into the graph that the stream is captured into.
Error enqueue(Stream* stream, std::function<void()> work);

// How a thread waits for another one that uses the machine. Whoever may hold something that work in
// the queues needs, such as Python's interpreter, lets go of it there.
void set_blocking(void (*block)(std::recursive_mutex&));

// Every launch runs its threads in an order of its own, drawn from this seed.
void set_seed(uint64_t seed);
uint64_t next_order();

// The device's memory, and whether it is one with the host's.
void set_device(size_t bytes, bool integrated);

// What has been made and not yet given back.
struct Usage {
  size_t device_bytes;
  size_t pinned_bytes;
  int64_t streams;
  int64_t events;
  int64_t graphs;
};
Usage usage();

// How many copies of memory were asked for so far, in captures too.
int64_t copies();

}  // namespace emulation
