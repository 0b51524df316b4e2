// A fair division of threads among the calls in progress.
//
// A call that is alone gets all threads, so that one image is done as fast as possible. Calls that
// arrive together get equal shares, in the end one thread each: images side by side never wait for
// each other, while the threads of one image meet after every layer of the network. The number of
// recent calls is remembered and halved with each new one, so that a call which is alone for a
// moment only, while the next image is being read, still leaves the others their share.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "threads/process.h"

namespace nucleiseg::cpu {

class Shares {
 public:
  // `threads` is at least 1.
  explicit Shares(int threads) : threads_(threads), state_(threads) {}

  // Waits for its turn, first come, first served, and until a thread is free; returns how many
  // threads the caller has until it calls give_back(). Whoever holds a share must not wait for
  // another caller to get one.
  int take();
  void give_back(int threads);

  // Callers in line, and threads that nobody has.
  int waiting() const;
  int free() const;

 private:
  struct State {
    explicit State(int threads) : free(threads) {}

    int free;
    int served = 0;
    int recent = 1;
    uint64_t next_ticket = 0;
    uint64_t now_serving = 0;
    std::mutex lock;
    std::condition_variable changed;
  };

  const int threads_;
  PerProcess<State> state_;
};

class Share {
 public:
  explicit Share(Shares& shares) : shares_(shares), threads_(shares.take()) {}
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;
  ~Share() { shares_.give_back(threads_); }

  int threads() const { return threads_; }

 private:
  Shares& shares_;
  const int threads_;
};

}  // namespace nucleiseg::cpu
