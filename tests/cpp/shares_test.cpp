// How threads are divided among calls: csrc/threads/shares.h. Prints "n rounds, 0 failures".
#include "threads/shares.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "threads/process.h"

namespace {

using nucleiseg::cpu::Share;
using nucleiseg::cpu::Shares;

int rounds = 0;
int failures = 0;

void expect(bool good, const char* what) {
  ++rounds;
  if (good) return;
  ++failures;
  std::printf("failed: %s\n", what);
}

// A caller on a thread of its own, which keeps its share until it is told to end.
class Caller {
 public:
  explicit Caller(Shares& shares) : thread_([this, &shares] { run(shares); }) {}
  ~Caller() { end(); }

  void end() {
    is_over_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int threads() const {
    for (int i = 0; i < 10000 && threads_ == 0; ++i) pause();
    return threads_;
  }
  bool is_waiting() const { return threads_ == 0; }
  static void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

 private:
  void run(Shares& shares) {
    const Share share(shares);
    threads_ = share.threads();
    while (!is_over_) pause();
  }

  std::atomic<int> threads_{0};
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

using Callers = std::vector<std::unique_ptr<Caller>>;

// Callers that wait in this order.
Callers queued(Shares& shares, int count) {
  Callers callers;
  for (int i = 0; i < count; ++i) {
    callers.push_back(std::make_unique<Caller>(shares));
    while (shares.waiting() <= i) Caller::pause();
  }
  return callers;
}

void alone(int threads) {
  Shares shares(threads);
  for (int i = 0; i < 3; ++i) {
    expect(Share(shares).threads() == threads, "a call that is alone gets all threads");
  }
}

void together(int threads, int waiting, const std::vector<int>& expected) {
  Shares shares(threads);
  Callers callers;
  {
    const Share first(shares);
    callers = queued(shares, waiting);
    for (const auto& caller : callers) expect(caller->is_waiting(), "nobody gets what is taken");
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    expect(callers[i]->threads() == expected[i], "calls that wait share what is free");
  }
  for (size_t i = expected.size(); i < callers.size(); ++i) {
    expect(callers[i]->is_waiting(), "others wait for a thread");
  }
  for (const auto& caller : callers) caller->end();
  expect(shares.free() == threads, "all threads are given back");
}

void recent() {
  Shares shares(8);
  Callers callers;
  {
    const Share first(shares);
    callers = queued(shares, 4);
  }
  for (const auto& caller : callers) expect(caller->threads() == 2, "four calls at once");
  for (const auto& caller : callers) caller->end();
  for (const int threads : {4, 8, 8}) {
    expect(Share(shares).threads() == threads, "recent calls are forgotten by half each time");
  }
}

void in_order() {
  Shares shares(1);
  Callers callers;
  {
    const Share first(shares);
    callers = queued(shares, 4);
  }
  for (size_t i = 0; i < callers.size(); ++i) {
    expect(callers[i]->threads() == 1, "who waits longest is next");
    for (size_t k = i + 1; k < callers.size(); ++k) {
      expect(callers[k]->is_waiting(), "later callers wait");
    }
    callers[i]->end();
  }
}

// A child has none of the threads that its parent's shares went to.
void after_a_fork() {
  Shares shares(3);
  const Share first(shares);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    ::_exit(Share(shares).threads() == 3 ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  expect(status == 0, "all threads are free in a child");
}

// The thread that holds a lock is not there in a child: locks of a PerProcess, such as that of a
// Network's workspaces, are the child's own.
void locked_at_a_fork() {
  nucleiseg::cpu::PerProcess<std::mutex> lock;
  std::atomic<bool> is_locked{false};
  std::atomic<bool> is_over{false};
  std::thread holder([&] {
    const std::lock_guard<std::mutex> guard(lock.mine());
    is_locked = true;
    while (!is_over) Caller::pause();
  });
  while (!is_locked) Caller::pause();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    lock.mine().lock();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  expect(status == 0, "a lock that a thread of the parent holds is free in a child");
  expect(!lock.mine().try_lock(), "and held in the parent as before");
  is_over = true;
  holder.join();
}

}  // namespace

int main() {
  for (const int threads : {1, 2, 7}) alone(threads);
  together(2, 2, {1, 1});
  together(8, 2, {4, 4});
  together(7, 3, {2, 2, 2});
  together(2, 3, {1, 1});
  recent();
  in_order();
  after_a_fork();
  locked_at_a_fork();
  std::printf("%d rounds, %d failures\n", rounds, failures);
  return failures == 0 ? 0 : 1;
}
