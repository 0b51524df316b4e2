// The processor as a device of the pipeline: a network, threads that calls share, and their times.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cpu/aligned.h"
#include "cpu/network/network.h"
#include "cpu/normalize/normalize.h"
#include "pipeline/flow.h"
#include "threads/process.h"
#include "threads/shares.h"

namespace nucleiseg::pipeline {

// What a call's time is spent on.
enum class Part { kPrepare, kInfer, kAssemble, kDecode, kCount };

// Sums over all calls. They may be read while calls are in progress.
class Times {
 public:
  void add(Part part, std::chrono::nanoseconds time) {
    sums_[static_cast<size_t>(part)].fetch_add(time.count(), std::memory_order_relaxed);
  }
  void add_pixels(int64_t pixels) { pixels_.fetch_add(pixels, std::memory_order_relaxed); }

  double seconds(Part part) const {
    return 1e-9 * static_cast<double>(sums_[static_cast<size_t>(part)].load());
  }
  // That the network was given, halos and padding included.
  int64_t pixels() const { return pixels_.load(); }

 private:
  std::array<std::atomic<int64_t>, static_cast<size_t>(Part::kCount)> sums_{};
  std::atomic<int64_t> pixels_{0};
};

// Adds the time from its construction to its end.
class Timer {
 public:
  Timer(Times& times, Part part) : times_(times), part_(part) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { times_.add(part_, Clock::now() - begin_); }

 private:
  using Clock = std::chrono::steady_clock;
  Times& times_;
  const Part part_;
  const Clock::time_point begin_ = Clock::now();
};

class CpuDevice {
 public:
  CpuDevice(std::shared_ptr<const cpu::Network> network, int threads)
      : network_(std::move(network)), threads_(threads), shares_(threads) {}

  const cpu::Network& network() const { return *network_; }
  int threads() const { return threads_; }
  cpu::Shares& shares() { return shares_; }
  Times& times() { return times_; }

  // Large tiles are done one at a time and on all threads: their threads hardly wait for each
  // other, and each takes much memory (about 16 bytes a pixel).
  void infer(const uint8_t* tiles, int64_t count, int64_t height, int64_t width, uint8_t* cells,
             int threads);

 private:
  const std::shared_ptr<const cpu::Network> network_;
  const int threads_;
  cpu::Shares shares_;
  Times times_;
  cpu::PerProcess<std::mutex> large_;
};

// The steps of one image, on some threads.
class CpuSteps {
 public:
  CpuSteps(CpuDevice& device, int threads) : device_(device), threads_(threads) {}

  int threads() const { return threads_; }
  void set_limits(const cpu::Limits& limits) { limits_ = limits; }

  // Memory that is not set to anything, that of the last block of this name where it is enough.
  uint8_t* memory(Block name, int64_t bytes);

  cpu::Limits limits(const ImageView& image, double low, double high);
  void normalize(const ImageView& image, uint8_t* out);
  void gather(const Plane<const uint8_t>& image, const std::vector<Point>& origins, int64_t height,
              int64_t width, uint8_t* out);
  void infer(const uint8_t* tiles, int64_t count, int64_t height, int64_t width, uint8_t* cells);
  void assemble(const uint8_t* cells, int64_t height, int64_t width,
                const std::vector<Point>& origins, const std::vector<Rectangle>& cores,
                const Plane<uint8_t>& out);
  void use_threshold(uint8_t threshold) { threshold_ = threshold; }
  void mask(const ImageView& maps, uint8_t* out);
  void label(const ImageView& maps, const kernels::LabelRule& rule, int32_t* out);

 private:
  struct Memory {
    cpu::AlignedBytes bytes;
    int64_t size = 0;
  };

  CpuDevice& device_;
  const int threads_;
  uint8_t threshold_ = 0;
  cpu::Limits limits_{};
  std::array<Memory, static_cast<size_t>(Block::kCount)> blocks_;
};

// An image that the network sees at another size.
class ResizedSource {
 public:
  ResizedSource(CpuSteps& steps, const ImageView& image, const Size& size)
      : steps_(steps), image_(image), size_(size) {}

  Size size() const { return size_; }
  ImageView part(const Rectangle& part);

 private:
  CpuSteps& steps_;
  const ImageView image_;
  const Size size_;
};

}  // namespace nucleiseg::pipeline
