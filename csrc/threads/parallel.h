// A loop over a range, shared out among threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

#include "threads/crew.h"

namespace nucleiseg::cpu {

// Below this many values a thread costs more to wake (20 to 50 us) than it saves.
constexpr int64_t kValuesPerThread = 1 << 16;

inline int64_t rows_per_thread(int64_t values_per_row) {
  return std::max<int64_t>(1, kValuesPerThread / std::max<int64_t>(1, values_per_row));
}

// Calls fn(begin, end) on pieces of at most `grain` that cover 0..count. The caller's thread works
// too; those that come do all of it.
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
  auto work = [&]() noexcept {
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
  together(static_cast<int>(workers), work);
  if (error) std::rethrow_exception(error);
}

}  // namespace nucleiseg::cpu
