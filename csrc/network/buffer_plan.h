// Which tensors share memory: greedily, in the order in which they are made and last read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace nucleiseg::network {

class BufferPlan {
 public:
  // The number of a free buffer, of those that have to grow the least the smallest, or a new one.
  size_t take(size_t size) {
    const auto cost = [&](size_t buffer) {
      return std::pair(size - std::min(size, sizes_[buffer]), sizes_[buffer]);
    };
    const auto best = std::min_element(free_.begin(), free_.end(),
                                       [&](size_t a, size_t b) { return cost(a) < cost(b); });
    if (best == free_.end()) {
      sizes_.push_back(size);
      return sizes_.size() - 1;
    }
    const size_t buffer = *best;
    sizes_[buffer] = std::max(sizes_[buffer], size);
    free_.erase(best);
    return buffer;
  }

  void give_back(size_t buffer) { free_.push_back(buffer); }
  const std::vector<size_t>& sizes() const { return sizes_; }

 private:
  std::vector<size_t> sizes_;
  std::vector<size_t> free_;
};

}  // namespace nucleiseg::network
