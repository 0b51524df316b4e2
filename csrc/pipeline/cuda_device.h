// A GPU as a device of the pipeline: a network, and lanes that images take one after the other.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cpu/normalize/normalize.h"
#include "cuda/memory.h"
#include "cuda/normalize.h"
#include "cuda/pool.h"
#include "pipeline/cuda_lane.h"
#include "pipeline/flow.h"
#include "pipeline/pipeline.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

using kernels::Plane;
using kernels::Point;
using kernels::Rectangle;
using pipeline::Block;
using pipeline::Settings;
using pipeline::Size;
using pipeline::Task;

// Images on the device at once: while one is in the network, the next is uploaded and the one
// before is downloaded. Further calls wait.
constexpr int kLanes = 3;

// What a network is given: (count, height, width, 3) bytes, and where its cells go.
struct Tiles {
  const uint8_t* data;
  int64_t count;
  int64_t height;
  int64_t width;
  uint8_t* cells;
};

// Returns memory of so many bytes for what comes between the layers. Streams of which one is at
// work at a time are given the same.
using Allocate = std::function<void*(size_t)>;

// Puts the network into a stream, without waiting. The stream may be captured into a graph after
// one call with the same shape that was not; its later calls have that shape until the graph is
// gone.
using Engine = std::function<void(const Tiles&, cudaStream_t, const Allocate&)>;

class CudaSteps;

class CudaDevice {
 public:
  using Steps = CudaSteps;

  // Belongs to the calling thread's current device. `threads` resize and decode on the host;
  // `page_locked` is how many bytes of results may be page-locked, which are not copied once more;
  // `warn` is told what goes on more slowly.
  CudaDevice(Engine engine, int threads, size_t page_locked,
             std::function<void(const std::string&)> warn);

  int threads() const { return threads_; }
  int index() const { return index_; }
  const Engine& engine() const { return engine_; }
  // In which callers' arrays are waited for.
  const Stream& intake() const { return intake_; }
  const std::function<void(const std::string&)>& warn() const { return warn_; }

  // Makes this the calling thread's device. Throws std::runtime_error in a child process, where
  // CUDA cannot be used and locks might never be released.
  void enter() const;
  // Waits for a lane, and takes it.
  std::unique_ptr<Lane> take();
  void give_back(std::unique_ptr<Lane> lane);

  // Memory for a result on the device; and page-locked on the host, null where enough is in use.
  std::shared_ptr<DeviceMemory> device_memory(size_t bytes);
  std::shared_ptr<PinnedMemory> pinned_memory(size_t bytes);

 private:
  const Engine engine_;
  const int threads_;
  const std::function<void(const std::string&)> warn_;
  const int index_;
  const bool integrated_;
  const int process_;
  const Stream intake_;
  const std::shared_ptr<Pool<DeviceMemory>> device_pool_;
  const std::shared_ptr<Pool<PinnedMemory>> pinned_pool_;
  std::mutex lock_;
  std::condition_variable freed_;
  int lanes_ = 0;  // that were made
  std::vector<std::unique_ptr<Lane>> idle_;
};

// The steps of one image, in a lane that is its own until the end. Nothing of it is under way
// afterwards, whatever happens. Images, outputs and maps may lie on the device or on the host.
class CudaSteps {
 public:
  static constexpr bool kIsGpu = true;
  struct Untimed {};

  CudaSteps(CudaDevice& device, const Settings& settings, const ImageView& image);
  CudaSteps(const CudaSteps&) = delete;
  CudaSteps& operator=(const CudaSteps&) = delete;
  ~CudaSteps();

  int threads() const { return device_.threads(); }
  // That kernels are given to.
  const Stream& stream() { return lane_->work(); }
  Untimed time_decoding() const { return {}; }
  // The image where kernels read it, and where the host does.
  const ImageView& image();
  const ImageView& host_image();

  // Takes limits that are given, or finds them and waits.
  void learn_limits(const std::optional<cpu::Limits>& limits);
  // Finds limits without waiting.
  void find_limits(const ImageView& image);
  // Whether the image is known to be blank.
  bool is_blank() const { return are_known_ && limits_.high <= limits_.low; }

  uint8_t* memory(Block name, int64_t bytes) { return block(static_cast<int>(name), bytes); }
  void normalize(const ImageView& image, uint8_t* out);
  void gather(const Plane<const uint8_t>& image, const std::vector<Point>& origins, int64_t height,
              int64_t width, uint8_t* out);
  void infer(const uint8_t* tiles, int64_t count, int64_t height, int64_t width, uint8_t* cells);
  void assemble(const uint8_t* cells, int64_t height, int64_t width,
                const std::vector<Point>& origins, const std::vector<Rectangle>& cores,
                const Plane<uint8_t>& out);
  void mask(const ImageView& maps, uint8_t* out);
  void label(const ImageView& maps, const kernels::LabelRule& rule, int32_t* out);

  // Where kernels write results before finish() brings them to the outputs.
  Outputs places(const Outputs& outputs, const Size& size);
  // Where the host writes them: the outputs, if they lie there.
  Outputs host_outputs(const Outputs& outputs, const Size& size);
  uint8_t* staging(Block name, int64_t bytes);
  ImageView staged(Block name, const ImageView& view);
  ImageView on_host(const ImageView& view);
  uint8_t* band(uint8_t*, int64_t bytes) { return memory(Block::kBand, bytes); }
  void bring(const uint8_t* maps, uint8_t* rows, int64_t bytes);
  uint8_t* as_output(const ImageView& maps, uint8_t*);

  Outputs repeat(const Task& task, const ImageView& image,
                 const std::function<Outputs(const ImageView&)>& work);

  // Brings results to the outputs, waits, and returns the limits; throws std::invalid_argument if
  // the image has values that are not finite.
  cpu::Limits finish(const Outputs& places, const Outputs& outputs, const Size& size);

 private:
  struct Delivery;

  uint8_t* block(int name, int64_t bytes);
  Limits* limits_block();
  const Limits* fetch_limits();
  void keep_limits(const Limits& found);
  Delivery deliver(const void* from, void* to, int64_t bytes, int name);
  void clear(void* output, int64_t bytes);

  CudaDevice& device_;
  const Settings& settings_;
  const ImageView given_;
  std::unique_ptr<Lane> lane_;
  const bool is_on_device_;
  std::optional<ImageView> image_;  // on the device
  std::optional<ImageView> host_image_;
  Outputs host_outputs_;  // where they are not the outputs themselves
  bool finds_limits_ = false;
  bool are_known_ = false;
  cpu::Limits limits_{};
};

}  // namespace nucleiseg::NUCLEISEG_DEVICE

namespace nucleiseg::pipeline {

extern template class Pipeline<NUCLEISEG_DEVICE::CudaDevice>;

}  // namespace nucleiseg::pipeline
