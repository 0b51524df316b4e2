// Bytes that begin at a cache line, and are not set to anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace nucleiseg::cpu {

constexpr std::align_val_t kCacheLine{64};

class AlignedBytes {
 public:
  explicit AlignedBytes(size_t size = 0)
      : size_(size), data_(static_cast<uint8_t*>(::operator new(size, kCacheLine))) {}

  uint8_t* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(uint8_t* data) const { ::operator delete(data, kCacheLine); }
  };
  size_t size_;
  std::unique_ptr<uint8_t, Free> data_;
};

}  // namespace nucleiseg::cpu
