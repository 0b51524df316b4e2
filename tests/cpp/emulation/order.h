// A random order of 0..count-1 that needs no memory: a Feistel network over the next even number of
// bits, walked until it falls inside (Black and Rogaway, "Ciphers with Arbitrary Finite Domains",
// 2002, doi:10.1007/3-540-45760-7_9).
#pragma once

#include <cstdint>

namespace emulation {

class Order {
 public:
  Order(uint64_t count, uint64_t key) : count_(count), key_(key) {
    while (half_bits_ < 32 && (uint64_t{1} << (2 * half_bits_)) < count) ++half_bits_;
  }

  uint64_t operator[](uint64_t index) const {
    do {
      index = permute(index);
    } while (index >= count_);
    return index;
  }

 private:
  static constexpr int kRounds = 4;

  uint64_t permute(uint64_t index) const {
    const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
    uint64_t left = index >> half_bits_;
    uint64_t right = index & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t next = left ^ (mix(right + (round << 32)) & mask);
      left = right;
      right = next;
    }
    return left << half_bits_ | right;
  }

  // Steele, Lea and Flood's splitmix64 (2014, doi:10.1145/2660193.2660195).
  uint64_t mix(uint64_t value) const {
    value += key_ + 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
  }

  const uint64_t count_;
  const uint64_t key_;
  unsigned half_bits_ = 1;
};

}  // namespace emulation
