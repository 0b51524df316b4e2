// Threads that go through the same list of stages side by side.
//
// Starting a thread costs about 20 us, and a network of 20 stages on a small image takes a
// millisecond: so they are started once, and wait for each other between stages.
#pragma once

#include <atomic>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

namespace nucleiseg::cpu {

// One stage after the other: each has pieces that any member may take.
class Stages {
 public:
  explicit Stages(std::vector<int64_t> pieces)
      : pieces_(std::move(pieces)), taken_(pieces_.size()) {
    for (auto& one : taken_) one.store(0, std::memory_order_relaxed);
  }

  // Calls work(stage, piece) for every piece, with all of a stage done before the next begins.
  // `work` must not throw.
  template <class Work>
  void run(int threads, const Work& work) {
    std::vector<std::thread> helpers;
    std::atomic<bool> ready{false};
    const auto help = [&] {
      while (!ready.load(std::memory_order_acquire)) std::this_thread::yield();
      go(work);
    };
    try {
      while (static_cast<int>(helpers.size()) < threads - 1) helpers.emplace_back(help);
    } catch (const std::system_error&) {
      // Those that the system granted do it all.
    }
    members_ = static_cast<int>(helpers.size()) + 1;
    ready.store(true, std::memory_order_release);
    go(work);
    for (std::thread& helper : helpers) helper.join();
  }

 private:
  template <class Work>
  void go(const Work& work) {
    for (size_t stage = 0; stage < pieces_.size(); ++stage) {
      for (int64_t piece;
           (piece = taken_[stage].fetch_add(1, std::memory_order_relaxed)) < pieces_[stage];) {
        work(stage, piece);
      }
      wait();
    }
  }

  // Spins for about as long as a stage takes that is shared out unevenly, then lets others run.
  void wait() {
    if (members_ == 1) return;
    const uint64_t round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      if (spins > kSpins) std::this_thread::yield();
    }
  }

  static constexpr int kSpins = 1 << 12;
  std::vector<int64_t> pieces_;
  std::vector<std::atomic<int64_t>> taken_;
  int members_ = 1;
  std::atomic<int> arrived_{0};
  std::atomic<uint64_t> round_{0};
};

}  // namespace nucleiseg::cpu
