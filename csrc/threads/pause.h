// Waiting for another thread without sleeping.
#pragma once

#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nucleiseg::cpu {

// Tells the processor that this thread only waits.
inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Turns for about as long as pieces of work take, then lets others run.
class Spin {
 public:
  void wait() {
    if (turns_ < kTurns) {
      ++turns_;
      pause();
    } else {
      std::this_thread::yield();
    }
  }

 private:
  static constexpr int kTurns = 1 << 9;  // 20 us or less
  int turns_ = 0;
};

}  // namespace nucleiseg::cpu
