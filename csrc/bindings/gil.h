// Python's lock let go for a while.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>

namespace nucleiseg::bindings {

// As pybind11's, but a thread that takes the lock back while Python shuts down waits for the end.
// Before Python 3.14 such a thread is ended by unwinding, which may not leave a destructor: the
// program would be aborted.
class GilReleased {
 public:
  GilReleased() : state_(PyEval_SaveThread()) {}
  GilReleased(const GilReleased&) = delete;
  GilReleased& operator=(const GilReleased&) = delete;
  ~GilReleased() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }

 private:
  PyThreadState* state_;
};

}  // namespace nucleiseg::bindings
