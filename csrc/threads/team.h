// Threads that go through the same list of stages side by side.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "threads/crew.h"
#include "threads/pause.h"

namespace nucleiseg::cpu {

// One stage after the other: each has pieces that any member may take.
class Stages {
 public:
  Stages(const std::vector<int64_t>& pieces, int threads)
      : pieces_(pieces),
        threads_(static_cast<size_t>(threads)),
        shares_(pieces.size() * threads_),
        done_(pieces.size()) {
    for (size_t stage = 0; stage < pieces.size(); ++stage) {
      for (int64_t member = 0; member < threads; ++member) {
        shares_[stage * threads_ + static_cast<size_t>(member)].set(
            pieces[stage] * member / threads, pieces[stage] * (member + 1) / threads);
      }
    }
  }

  // Calls work(stage, piece, member) for every piece, with all of a stage done before the next
  // begins. Members have numbers below `threads`. `work` must not throw.
  template <class Work>
  void run(const Work& work) {
    auto go = [&] { this->go(work); };
    together(static_cast<int>(threads_), go);
  }

 private:
  // The pieces of a stage that a member has for its own. It takes them from the front, and who has
  // none left from the back.
  class Share {
   public:
    void set(int64_t begin, int64_t end) {
      both_.store(pack(begin, end), std::memory_order_relaxed);
    }

    // Whether there was one.
    bool take(bool front, int64_t& piece) {
      uint64_t both = both_.load(std::memory_order_relaxed);
      for (;;) {
        const auto begin = static_cast<int64_t>(both >> 32);
        const auto end = static_cast<int64_t>(both & 0xffffffffu);
        if (begin >= end) return false;
        const uint64_t less = front ? pack(begin + 1, end) : pack(begin, end - 1);
        if (both_.compare_exchange_weak(both, less, std::memory_order_relaxed)) {
          piece = front ? begin : end - 1;
          return true;
        }
      }
    }

   private:
    static uint64_t pack(int64_t begin, int64_t end) {
      return static_cast<uint64_t>(begin) << 32 | static_cast<uint64_t>(end);
    }

    alignas(64) std::atomic<uint64_t> both_{0};
  };

  struct alignas(64) Count {
    std::atomic<int64_t> pieces{0};
  };

  template <class Work>
  void go(const Work& work) {
    const auto self = static_cast<size_t>(members_.fetch_add(1, std::memory_order_relaxed));
    for (size_t stage = 0; stage < pieces_.size(); ++stage) {
      int64_t mine = 0;
      for (size_t i = 0; i < threads_; ++i) {
        Share& share = shares_[stage * threads_ + (self + i) % threads_];
        for (int64_t piece; share.take(i == 0, piece); ++mine) work(stage, piece, self);
      }
      std::atomic<int64_t>& done = done_[stage].pieces;
      if (mine > 0) done.fetch_add(mine, std::memory_order_acq_rel);
      Spin spin;
      while (done.load(std::memory_order_acquire) < pieces_[stage]) spin.wait();
    }
  }

  const std::vector<int64_t>& pieces_;
  size_t threads_;
  std::vector<Share> shares_;
  std::vector<Count> done_;
  std::atomic<int> members_{0};
};

}  // namespace nucleiseg::cpu
