// Who runs a launch's threads: the calling thread, one after the other, or, where
// NUCLEISEG_EMULATION_THREADS is set, that many threads at once, for the race detector.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace emulation {

#if defined(NUCLEISEG_EMULATION_THREADS)

template <class Body>
void share_out(uint64_t count, Body&& body) {
  std::atomic<uint64_t> next{0};
  const auto work = [&] {
    for (uint64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(i);
  };
  std::vector<std::thread> workers;
  for (int i = 0; i < NUCLEISEG_EMULATION_THREADS; ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
}

#else

template <class Body>
void share_out(uint64_t count, Body&& body) {
  for (uint64_t i = 0; i < count; ++i) body(i);
}

#endif

}  // namespace emulation
