#include "threads/shares.h"

#include <algorithm>

namespace nucleiseg::cpu {

int Shares::take() {
  std::unique_lock<std::mutex> guard(lock_);
  const uint64_t ticket = next_ticket_++;
  changed_.wait(guard, [&] { return now_serving_ == ticket && free_ > 0; });
  const auto waiting = static_cast<int>(next_ticket_ - ticket);
  recent_ = std::max(served_ + waiting, recent_ / 2);
  const int share = std::min(free_, std::max(1, threads_ / recent_));
  free_ -= share;
  ++served_;
  ++now_serving_;
  changed_.notify_all();
  return share;
}

void Shares::give_back(int threads) {
  const std::lock_guard<std::mutex> guard(lock_);
  free_ += threads;
  --served_;
  changed_.notify_all();
}

int Shares::waiting() const {
  const std::lock_guard<std::mutex> guard(lock_);
  return static_cast<int>(next_ticket_ - now_serving_);
}

int Shares::free() const {
  const std::lock_guard<std::mutex> guard(lock_);
  return free_;
}

}  // namespace nucleiseg::cpu
