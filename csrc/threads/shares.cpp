#include "threads/shares.h"

#include <algorithm>

namespace nucleiseg::cpu {

int Shares::take() {
  State& state = state_.mine();
  std::unique_lock<std::mutex> guard(state.lock);
  const uint64_t ticket = state.next_ticket++;
  state.changed.wait(guard, [&] { return state.now_serving == ticket && state.free > 0; });
  const auto waiting = static_cast<int>(state.next_ticket - ticket);
  state.recent = std::max(state.served + waiting, state.recent / 2);
  const int share = std::min(state.free, std::max(1, threads_ / state.recent));
  state.free -= share;
  ++state.served;
  ++state.now_serving;
  state.changed.notify_all();
  return share;
}

void Shares::give_back(int threads) {
  State& state = state_.mine();
  const std::lock_guard<std::mutex> guard(state.lock);
  state.free += threads;
  --state.served;
  state.changed.notify_all();
}

int Shares::waiting() const {
  State& state = state_.mine();
  const std::lock_guard<std::mutex> guard(state.lock);
  return static_cast<int>(state.next_ticket - state.now_serving);
}

int Shares::free() const {
  State& state = state_.mine();
  const std::lock_guard<std::mutex> guard(state.lock);
  return state.free;
}

}  // namespace nucleiseg::cpu
