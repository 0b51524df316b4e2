// Memory for results that are given away: what one had is used again when its last owner is gone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

namespace nucleiseg::NUCLEISEG_DEVICE {

// Results outlive the device that they come from, so both share the pool. Nothing of the device is
// called with the lock held.
template <class Memory>
class Pool : public std::enable_shared_from_this<Pool<Memory>> {
 public:
  // Blocks that are kept while nobody uses them, and bytes in use above which there is no more.
  explicit Pool(size_t keep, size_t most) : keep_(keep), most_(most) {}

  // Null where as much is in use as may be. `make` allocates.
  template <class Make>
  std::shared_ptr<Memory> take(size_t bytes, const Make& make) {
    std::unique_ptr<Memory> memory;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (bytes > most_ - used_) return nullptr;
      used_ += bytes;
      const auto found = std::find_if(blocks_.begin(), blocks_.end(),
                                      [bytes](const auto& block) { return block.first == bytes; });
      if (found != blocks_.end()) {
        memory = std::move(found->second);
        blocks_.erase(found);
      }
    }
    try {
      if (!memory) memory = make();
    } catch (...) {
      put(bytes, nullptr);
      throw;
    }
    const auto self = this->shared_from_this();
    return {memory.release(),
            [self, bytes](Memory* unused) { self->put(bytes, std::unique_ptr<Memory>(unused)); }};
  }

 private:
  void put(size_t bytes, std::unique_ptr<Memory> memory) {
    std::unique_ptr<Memory> oldest;
    const std::lock_guard<std::mutex> lock(mutex_);
    used_ -= bytes;
    if (!memory) return;
    blocks_.emplace_back(bytes, std::move(memory));
    if (blocks_.size() <= keep_) return;
    oldest = std::move(blocks_.front().second);
    blocks_.pop_front();
  }

  const size_t keep_;
  const size_t most_;
  size_t used_ = 0;
  std::mutex mutex_;
  std::deque<std::pair<size_t, std::unique_ptr<Memory>>> blocks_;
};

}  // namespace nucleiseg::NUCLEISEG_DEVICE
