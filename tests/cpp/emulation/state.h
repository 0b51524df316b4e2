// The emulated machine's state, behind one lock: streams may be used from several Python threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "emulation/machine.h"

namespace emulation {

using Work = std::function<void()>;

// The work of a capture in the order in which it was given, which every order that events ask for
// agrees with.
struct Capture {
  Stream* origin;
  std::vector<Work> work;
  std::set<Stream*> unjoined;  // have work that the origin does not wait for
  std::set<Stream*> members;
};

// What streams and the events recorded in them share; the stream itself may be gone earlier.
struct Queue {
  std::deque<Work> waiting;
  uint64_t given = 0;
  uint64_t done = 0;

  // While its work is being done a queue begins no other, whoever asks: work that is a Python
  // function may destroy what waits for the device.
  bool busy = false;

  void finish_one();
  void finish(uint64_t count);
};

struct Stream {
  std::shared_ptr<Queue> queue = std::make_shared<Queue>();
  std::shared_ptr<Capture> capture;
};

struct Event {
  std::shared_ptr<Queue> queue;
  uint64_t place = 0;  // how much of the queue's work the event stands behind
  std::shared_ptr<double> seconds = std::make_shared<double>(0);
  bool timed = true;
  std::shared_ptr<Capture> capture;
  Stream* captured_in = nullptr;
};

struct Graph {
  std::vector<Work> work;
};

struct Block {
  size_t bytes;
  bool pinned;
  bool mapped;
};

using Mutex = std::recursive_mutex;

struct State {
  State() { streams.insert(&legacy); }

  Mutex mutex;
  void (*block)(Mutex&) = [](Mutex& taken) { taken.lock(); };
  Stream legacy;
  std::set<Stream*> streams;
  std::set<Event*> events;
  std::map<uintptr_t, Block> blocks;
  std::vector<void*> late;  // to be freed when no queue is busy
  int busy = 0;
  size_t device_bytes = size_t{4} << 30;
  bool integrated = false;
  Usage usage = {};
};

State& state();

struct Lock {
  Lock() {
    if (!state().mutex.try_lock()) state().block(state().mutex);
  }
  ~Lock() { state().mutex.unlock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
};

// Whether this thread captures: the mode is cudaStreamCaptureModeThreadLocal.
bool is_capturing();

// The stream that a handle means.
Stream* resolve(Stream* stream);

// Frees what was given back while a queue was busy.
void free_late();

}  // namespace emulation
