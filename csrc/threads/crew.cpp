#include "threads/crew.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "threads/pause.h"
#include "threads/process.h"

namespace nucleiseg::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// How long a thread without work looks out for more before it sleeps: longer than what lies between
// the steps of one image.
constexpr auto kPatience = std::chrono::microseconds(100);

class Helper {
 public:
  void post(void (*work)(void*), void* argument) {
    work_ = work;
    argument_ = argument;
    {
      const std::lock_guard<std::mutex> guard(lock_);
      state_.store(State::posted, std::memory_order_release);
    }
    wake_.notify_one();
  }

  // Takes the work back, or waits until it is done.
  void collect() {
    State state = State::posted;
    if (state_.compare_exchange_strong(state, State::idle, std::memory_order_acquire)) return;
    Spin spin;
    while (state_.load(std::memory_order_acquire) != State::idle) spin.wait();
  }

  [[noreturn]] void live() {
    for (;;) {
      await();
      State state = State::posted;
      if (!state_.compare_exchange_strong(state, State::working, std::memory_order_acquire)) {
        continue;
      }
      work_(argument_);
      state_.store(State::idle, std::memory_order_release);
    }
  }

 private:
  enum class State { idle, posted, working };

  bool is_posted() const { return state_.load(std::memory_order_acquire) == State::posted; }

  void await() {
    const auto end = Clock::now() + kPatience;
    while (Clock::now() < end) {
      for (int i = 0; i < 16; ++i) {
        if (is_posted()) return;
        pause();
      }
      std::this_thread::yield();
    }
    std::unique_lock<std::mutex> guard(lock_);
    wake_.wait(guard, [this] { return is_posted(); });
  }

  void (*work_)(void*) = nullptr;
  void* argument_ = nullptr;
  std::atomic<State> state_{State::idle};
  std::mutex lock_;
  std::condition_variable wake_;
};

class Crew {
 public:
  // As many as there are or the system grants.
  std::vector<Helper*> take(size_t count) {
    std::vector<Helper*> helpers;
    const std::lock_guard<std::mutex> guard(lock_);
    helpers.reserve(count);
    while (helpers.size() < count) {
      if (idle_.empty() && !add()) break;
      helpers.push_back(idle_.back());
      idle_.pop_back();
    }
    return helpers;
  }

  void give_back(const std::vector<Helper*>& helpers) {
    const std::lock_guard<std::mutex> guard(lock_);
    idle_.insert(idle_.end(), helpers.rbegin(), helpers.rend());
  }

 private:
  bool add() {
    const SignalsBlocked blocked;  // signals are for the threads of the program
    auto helper = std::make_unique<Helper>();
    idle_.reserve(all_ + 1);  // so that none is lost for want of memory
    try {
      std::thread([one = helper.get()] { one->live(); }).detach();
    } catch (const std::system_error&) {
      return false;
    }
    idle_.push_back(helper.release());
    ++all_;
    return true;
  }

  std::mutex lock_;
  std::vector<Helper*> idle_;
  size_t all_ = 0;
};

// Never destroyed, for its threads may outlive any destructor.
const PerProcess<Crew>& crews = *new PerProcess<Crew>;

}  // namespace

void together(int threads, void (*work)(void*), void* argument) {
  if (threads <= 1) return work(argument);
  Crew& crew = crews.mine();
  const std::vector<Helper*> helpers = crew.take(static_cast<size_t>(threads - 1));
  for (Helper* helper : helpers) helper->post(work, argument);
  work(argument);
  for (Helper* helper : helpers) helper->collect();
  crew.give_back(helpers);
}

}  // namespace nucleiseg::cpu
