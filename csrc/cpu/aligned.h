// Bytes that begin at a cache line, and are not set to anything.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

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
      : data_(static_cast<uint8_t*>(::operator new(size, kCacheLine))) {
    if (size >= kHuge) ask_for_huge_pages(size);
  }

  uint8_t* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(uint8_t* data) const { ::operator delete(data, kCacheLine); }
  };
  // Large blocks, as NumPy does: fewer pages to be set up and looked up. Where the system has none
  // nothing changes.
  static constexpr size_t kHuge = size_t{1} << 22;
  void ask_for_huge_pages([[maybe_unused]] size_t size) const {
#if defined(__linux__)
    constexpr uintptr_t kPage = 4096;
    const auto begin = (reinterpret_cast<uintptr_t>(data()) + kPage - 1) / kPage * kPage;
    const auto end = (reinterpret_cast<uintptr_t>(data()) + size) / kPage * kPage;
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
  }
  std::unique_ptr<uint8_t, Free> data_;
};

}  // namespace nucleiseg::cpu
