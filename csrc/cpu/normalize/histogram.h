// A histogram of one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace nucleiseg::cpu {

using Counts = std::vector<uint64_t>;

// `tables` copies with 32-bit counters, emptied into 64-bit ones before they can overflow.
template <size_t tables>
class Histogram {
 public:
  explicit Histogram(uint32_t bins) : bins_(bins), counters_(bins * tables), counts_(bins) {}

  template <class T, class Bin>
  void add(const T* values, size_t count, Bin&& bin) {
    while (count > 0) {
      const size_t step = count < kFlushAfter ? count : static_cast<size_t>(kFlushAfter);
      if (pending_ + step > kFlushAfter) flush();
      add_block(values, step, bin);
      pending_ += step;
      values += step;
      count -= step;
    }
  }

  // For a value at a time; `table` chooses the copy.
  void increment(uint32_t bin) {
    if (pending_ == kFlushAfter) flush();
    ++counters_[bin];
    ++pending_;
  }

  Counts take() {
    flush();
    return std::move(counts_);
  }

 private:
  static constexpr uint64_t kFlushAfter = uint64_t{1} << 31;

  template <class T, class Bin>
  void add_block(const T* values, size_t count, Bin& bin) {
    uint32_t* const counters = counters_.data();
    size_t i = 0;
    for (; i + tables <= count; i += tables) {
      T block[tables];
      std::memcpy(block, values + i, sizeof block);
      for (size_t table = 0; table < tables; ++table) ++counters[table * bins_ + bin(block[table])];
    }
    for (; i < count; ++i) ++counters[bin(values[i])];
  }

  void flush() {
    for (size_t table = 0; table < tables; ++table) {
      for (uint32_t bin = 0; bin < bins_; ++bin) counts_[bin] += counters_[table * bins_ + bin];
    }
    std::fill(counters_.begin(), counters_.end(), 0u);
    pending_ = 0;
  }

  const uint32_t bins_;
  std::vector<uint32_t> counters_;
  Counts counts_;
  uint64_t pending_ = 0;
};

}  // namespace nucleiseg::cpu
