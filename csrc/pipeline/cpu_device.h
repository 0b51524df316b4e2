// The processor as a device of the pipeline: a network, threads that calls share, and their times.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "cpu/aligned.h"
#include "cpu/network/network.h"
#include "cpu/normalize/normalize.h"
#include "pipeline/flow.h"
#include "pipeline/pipeline.h"
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

class CpuSteps;

class CpuDevice {
 public:
  using Steps = CpuSteps;

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

// The steps of one image, on the threads that are this call's share.
class CpuSteps {
 public:
  static constexpr bool kIsGpu = false;

  CpuSteps(CpuDevice& device, const Settings& settings, const ImageView& image)
      : device_(device), settings_(settings), image_(image), share_(device.shares()) {}

  int threads() const { return share_.threads(); }
  const ImageView& image() const { return image_; }
  const ImageView& host_image() const { return image_; }
  Timer time_decoding() { return Timer(device_.times(), Part::kDecode); }

  void learn_limits(const std::optional<cpu::Limits>& limits);
  void find_limits(const ImageView& image);
  bool is_blank() const { return limits_.high <= limits_.low && has_limits_; }

  // Memory that is not set to anything, that of the last block of this name where it is enough.
  uint8_t* memory(Block name, int64_t bytes);

  void normalize(const ImageView& image, uint8_t* out);
  void gather(const Plane<const uint8_t>& image, const std::vector<Point>& origins, int64_t height,
              int64_t width, uint8_t* out);
  void infer(const uint8_t* tiles, int64_t count, int64_t height, int64_t width, uint8_t* cells);
  void assemble(const uint8_t* cells, int64_t height, int64_t width,
                const std::vector<Point>& origins, const std::vector<Rectangle>& cores,
                const Plane<uint8_t>& out);
  void mask(const ImageView& maps, uint8_t* out);
  void label(const ImageView& maps, const kernels::LabelRule& rule, int32_t* out);

  // Results and what the host makes lie where the caller wants them from the start.
  Outputs places(const Outputs& outputs, const Size&) const { return outputs; }
  Outputs host_outputs(const Outputs& outputs, const Size&) const { return outputs; }
  uint8_t* staging(Block name, int64_t bytes) { return memory(name, bytes); }
  const ImageView& staged(Block, const ImageView& view) const { return view; }
  const ImageView& on_host(const ImageView& view) const { return view; }
  uint8_t* band(uint8_t* rows, int64_t) const { return rows; }
  void bring(const uint8_t*, uint8_t*, int64_t) const {}
  uint8_t* as_output(const ImageView& maps, uint8_t* out) const;
  template <class Work>
  Outputs repeat(const Task&, const ImageView& image, const Work& work) {
    return work(image);
  }
  // Returns the limits, and clears the outputs, which have this size, where the image is blank.
  cpu::Limits finish(const Outputs&, const Outputs& outputs, const Size& size) const;

 private:
  struct Memory {
    cpu::AlignedBytes bytes;
    int64_t size = 0;
  };

  CpuDevice& device_;
  const Settings& settings_;
  const ImageView image_;
  const cpu::Share share_;
  bool has_limits_ = false;
  cpu::Limits limits_{};
  std::array<Memory, static_cast<size_t>(Block::kCount)> blocks_;
};

extern template class Pipeline<CpuDevice>;
using CpuPipeline = Pipeline<CpuDevice>;

}  // namespace nucleiseg::pipeline
