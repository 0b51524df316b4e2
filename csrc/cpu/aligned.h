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
  AlignedBytes() = default;
  explicit AlignedBytes(size_t size)
      : data_(static_cast<uint8_t*>(::operator new(size, kCacheLine))) {}

  uint8_t* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(uint8_t* data) const { ::operator delete(data, kCacheLine); }
  };
  std::unique_ptr<uint8_t, Free> data_;
};

}  // namespace nucleiseg::cpu
