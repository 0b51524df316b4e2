// Who runs a launch's threads: the calling thread, one after the other, or, where
// NUCLEISEG_EMULATION_THREADS is set, that many threads at once, for the race detector.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace emulation {

#if defined(NUCLEISEG_EMULATION_THREADS)

// Each worker has its share from the start, and none begins before all are there: otherwise the
// first would often do everything before the second exists, and a race would have nobody to run
// against.
template <class Body>
void share_out(uint64_t count, Body&& body) {
  constexpr uint64_t kWorkers = NUCLEISEG_EMULATION_THREADS;
  std::atomic<uint64_t> present{0};
  const auto work = [&](uint64_t first) {
    present.fetch_add(1, std::memory_order_relaxed);
    while (present.load(std::memory_order_relaxed) < kWorkers) std::this_thread::yield();
    for (uint64_t i = first; i < count; i += kWorkers) body(i);
  };
  std::vector<std::thread> workers;
  for (uint64_t first = 0; first < kWorkers; ++first) workers.emplace_back(work, first);
  for (std::thread& worker : workers) worker.join();
}

#else

template <class Body>
void share_out(uint64_t count, Body&& body) {
  for (uint64_t i = 0; i < count; ++i) body(i);
}

#endif

}  // namespace emulation
