// A loop over a range, shared out among threads that live for one call.
//
// No pool and no global state: calls may come from several Python threads at once, and a process
// may fork between two calls.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace nucleiseg::cpu {

// Below this many values a thread costs more to start (about 20 us) than it saves.
constexpr int64_t kValuesPerThread = 1 << 16;

inline int64_t rows_per_thread(int64_t values_per_row) {
  return std::max<int64_t>(1, kValuesPerThread / std::max<int64_t>(1, values_per_row));
}

// Calls fn(begin, end) on pieces of at most `grain` that cover 0..count. The caller's thread works
// too; where the system grants fewer threads, those that exist do all of it.
template <class Function>
void parallel_for(int64_t count, int64_t grain, int threads, Function&& fn) {
  const int64_t pieces = (count + grain - 1) / grain;
  const int64_t workers = std::min<int64_t>(threads, pieces);
  if (workers <= 1) {
    if (count > 0) fn(int64_t{0}, count);
    return;
  }
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex error_lock;
  const auto work = [&]() noexcept {
    try {
      for (int64_t begin; (begin = next.fetch_add(grain)) < count;) {
        fn(begin, std::min(begin + grain, count));
      }
    } catch (...) {
      next = count;
      const std::lock_guard<std::mutex> guard(error_lock);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::thread> helpers;
  helpers.reserve(static_cast<size_t>(workers - 1));
  try {
    while (static_cast<int64_t>(helpers.size()) < workers - 1) helpers.emplace_back(work);
  } catch (const std::system_error&) {
  }
  work();
  for (std::thread& helper : helpers) helper.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace nucleiseg::cpu
