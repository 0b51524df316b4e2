// Signals and forks, which POSIX systems have; elsewhere these do nothing.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#define NUCLEISEG_POSIX
#endif

namespace nucleiseg::cpu {

#if defined(NUCLEISEG_POSIX)

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

#else

class SignalsBlocked {
 public:
  SignalsBlocked() {}
};

inline int after_fork(void (*)()) { return 0; }

#endif

// Counts the forks that led to this process since it was first asked.
inline int process_number() {
  static std::atomic<int> number{0};
  [[maybe_unused]] static const int registered = after_fork([] { ++number; });
  return number.load(std::memory_order_acquire);
}

// A T of its own for each process, such as locks and what they guard. A child has none of its
// parent's threads, so what one of them had locked would stay locked: the child starts afresh, and
// leaves its copy of the parent's alone.
template <class T>
class PerProcess {
 public:
  template <class... Arguments>
  explicit PerProcess(const Arguments&... arguments)
      : make_([arguments...] { return new Numbered(arguments...); }), current_(make_()) {}
  PerProcess(const PerProcess&) = delete;
  PerProcess& operator=(const PerProcess&) = delete;
  ~PerProcess() {
    Numbered* const last = current_.load();
    if (last->process == process_number()) delete last;
  }

  T& mine() const {
    Numbered* found = current_.load(std::memory_order_acquire);
    if (found->process == process_number()) return found->value;
    std::unique_ptr<Numbered> fresh(make_());
    if (current_.compare_exchange_strong(found, fresh.get())) return fresh.release()->value;
    return found->value;
  }

 private:
  struct Numbered {
    template <class... Arguments>
    explicit Numbered(const Arguments&... arguments) : value(arguments...) {}
    const int process = process_number();
    T value;
  };

  const std::function<Numbered*()> make_;
  mutable std::atomic<Numbered*> current_;
};

}  // namespace nucleiseg::cpu
