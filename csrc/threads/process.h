// Signals and forks, which POSIX systems have; elsewhere these do nothing.
#pragma once

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>

namespace nucleiseg::cpu {

// Blocks all signals in this thread, and in those that it starts meanwhile.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

// Calls `done` in the child of every later fork; returns 0 if that was possible.
inline int after_fork(void (*done)()) { return pthread_atfork(nullptr, nullptr, done); }

}  // namespace nucleiseg::cpu

#else

namespace nucleiseg::cpu {

class SignalsBlocked {
 public:
  SignalsBlocked() {}
};

inline int after_fork(void (*)()) { return 0; }

}  // namespace nucleiseg::cpu

#endif
