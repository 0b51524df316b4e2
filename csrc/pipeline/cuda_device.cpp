#include "pipeline/cuda_device.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <stdexcept>

#include "cuda/device.h"
#include "cuda/label.h"
#include "cuda/mask.h"
#include "cuda/tiles.h"
#include "threads/parallel.h"
#include "threads/process.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

constexpr size_t kKept = 8;          // unused results whose memory is kept for the next ones
constexpr int kCopiers = 4;          // threads that copy: more hardly gain
constexpr int64_t kPiece = 1 << 19;  // bytes: above it a thread is worth waking

void copy_on_host(void* to, const void* from, int64_t bytes, int threads) {
  cpu::parallel_for((bytes + kPiece - 1) / kPiece, 1, threads, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kPiece;
    const int64_t last = std::min(end * kPiece, bytes);
    std::memcpy(static_cast<char*>(to) + first, static_cast<const char*>(from) + first,
                static_cast<size_t>(last - first));
  });
}

int64_t bits(double value) {
  int64_t found = 0;
  std::memcpy(&found, &value, sizeof found);
  return found;
}

// Everything that the launches of a task depend on, but for where memory is.
Key key_of(const Task& task, const Settings& settings, const ImageView& image) {
  const int64_t wanted =
      (task.outputs.mask ? 1 : 0) + (task.outputs.labels ? 2 : 0) + (task.outputs.maps ? 4 : 0);
  const kernels::MergeRule& merge = task.rule.merge;
  Key key = {task.kind,
             wanted,
             task.rule.nucleus_threshold,
             task.rule.marker_threshold,
             task.rule.prominence,
             task.rule.min_area,
             task.rule.min_peak,
             task.rule.min_probability,
             bits(merge.pixel),
             merge.prominence,
             settings.stride,
             settings.halo,
             settings.tile,
             settings.batch,
             bits(settings.low),
             bits(settings.high),
             static_cast<int64_t>(image.type),
             image.height,
             image.width,
             image.channels,
             image.column_stride};
  for (const auto& unit : merge.units) key.insert(key.end(), std::begin(unit), std::end(unit));
  key.insert(key.end(), std::begin(merge.output), std::end(merge.output));
  return key;
}

void* first_of(const Outputs& outputs) {
  if (outputs.mask) return outputs.mask;
  if (outputs.labels) return outputs.labels;
  return outputs.maps;
}

}  // namespace

CudaDevice::CudaDevice(Engine engine, int threads, size_t page_locked,
                       std::function<void(const std::string&)> warn)
    : engine_(std::move(engine)),
      threads_(threads),
      warn_(std::move(warn)),
      index_(current_device()),
      integrated_(device(index_).integrated),
      process_(cpu::process_number()),
      device_pool_(std::make_shared<Pool<DeviceMemory>>(kKept, SIZE_MAX)),
      pinned_pool_(std::make_shared<Pool<PinnedMemory>>(kKept, page_locked)) {}

void CudaDevice::enter() const {
  if (cpu::process_number() != process_) {
    throw std::runtime_error(
        "device: a Segmenter on a GPU cannot be used after a fork; make it in the child process, "
        "or "
        "start that by 'spawn'");
  }
  set_device(index_);
}

std::unique_ptr<Lane> CudaDevice::take() {
  enter();
  std::unique_lock<std::mutex> guard(lock_);
  freed_.wait(guard, [&] { return !idle_.empty() || lanes_ < kLanes; });
  if (idle_.empty()) {
    auto lane = std::make_unique<Lane>(integrated_);
    ++lanes_;
    return lane;
  }
  std::unique_ptr<Lane> lane = std::move(idle_.back());
  idle_.pop_back();
  return lane;
}

void CudaDevice::give_back(std::unique_ptr<Lane> lane) {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    idle_.push_back(std::move(lane));
  }
  freed_.notify_one();
}

std::shared_ptr<DeviceMemory> CudaDevice::device_memory(size_t bytes) {
  return device_pool_->take(bytes, [&] { return std::make_unique<DeviceMemory>(bytes); });
}

std::shared_ptr<PinnedMemory> CudaDevice::pinned_memory(size_t bytes) {
  return pinned_pool_->take(bytes, [&] { return std::make_unique<PinnedMemory>(bytes, false); });
}

// A result on its way: `staged` is where the host finds it, if it still has to be copied there.
struct CudaSteps::Delivery {
  void* to = nullptr;
  const void* staged = nullptr;
  int64_t bytes = 0;
};

CudaSteps::CudaSteps(CudaDevice& device, const Settings& settings, const ImageView& image)
    : device_(device),
      settings_(settings),
      given_(image),
      lane_(device.take()),
      is_on_device_(is_device_memory(image.data)) {
  lane_->begin();
}

CudaSteps::~CudaSteps() {
  try {
    lane_->synchronize();
  } catch (const std::runtime_error&) {  // the call that failed has said why
  }
  device_.give_back(std::move(lane_));
}

const ImageView& CudaSteps::image() {
  if (!image_) {
    const int copiers = std::min(device_.threads(), kCopiers);
    image_ = is_on_device_ ? given_ : lane_->upload(kImage, given_, copiers);
  }
  return *image_;
}

const ImageView& CudaSteps::host_image() {
  if (!host_image_) host_image_ = is_on_device_ ? lane_->download(kSource, given_) : given_;
  return *host_image_;
}

Limits* CudaSteps::limits_block() {
  return reinterpret_cast<Limits*>(lane_->device(kLimits, sizeof(Limits)));
}

void CudaSteps::learn_limits(const std::optional<cpu::Limits>& limits) {
  if (!limits) {
    find_limits(image());
    const Limits* const found = fetch_limits();
    lane_->synchronize();
    return keep_limits(*found);
  }
  limits_ = *limits;
  are_known_ = true;
  const Limits given = {limits->low, limits->high, limits->ceiling, limits->apart, 0, 0};
  std::memcpy(lane_->staging(kGivenLimits, sizeof given), &given, sizeof given);
  copy(limits_block(), lane_->pinned(kGivenLimits, sizeof given), sizeof given,
       lane_->copies().handle());
}

void CudaSteps::find_limits(const ImageView& image) {
  finds_limits_ = true;
  auto* const search = lane_->device(kSearch, limits_workspace());
  limits_of(image, settings_.low, settings_.high, limits_block(), search, lane_->work().handle());
}

// Where the limits are once the lane was waited for.
const Limits* CudaSteps::fetch_limits() {
  Limits* const there = limits_block();
  if (const auto* const seen = lane_->seen_from_host(there)) {
    return reinterpret_cast<const Limits*>(seen);
  }
  auto* const here = lane_->pinned(kGivenLimits, sizeof(Limits));
  copy(here, there, sizeof(Limits), lane_->copies().handle());
  return reinterpret_cast<const Limits*>(here);
}

void CudaSteps::keep_limits(const Limits& found) {
  if (found.not_finite > 0 || found.beyond > 0) {
    cpu::fail_not_finite(static_cast<uint64_t>(found.not_finite),
                         static_cast<uint64_t>(found.beyond),
                         static_cast<uint64_t>(given_.values_per_row() * given_.height));
  }
  limits_ = {found.low, found.high, found.ceiling, found.apart};
  are_known_ = true;
}

uint8_t* CudaSteps::block(int name, int64_t bytes) {
  return reinterpret_cast<uint8_t*>(lane_->device(name, static_cast<size_t>(bytes)));
}

void CudaSteps::normalize(const ImageView& image, uint8_t* out) {
  NUCLEISEG_DEVICE::normalize(image, limits_block(), out, lane_->work().handle());
}

void CudaSteps::gather(const Plane<const uint8_t>& image, const std::vector<Point>& origins,
                       int64_t height, int64_t width, uint8_t* out) {
  NUCLEISEG_DEVICE::gather(image, origins, height, width, out, lane_->work().handle());
}

void CudaSteps::infer(const uint8_t* tiles, int64_t count, int64_t height, int64_t width,
                      uint8_t* cells) {
  lane_->note_tiles(count, height, width);
  device_.engine()({tiles, count, height, width, cells}, lane_->work().handle(),
                   [&](size_t bytes) { return lane_->device(kLayers, bytes); });
}

void CudaSteps::assemble(const uint8_t* cells, int64_t height, int64_t width,
                         const std::vector<Point>& origins, const std::vector<Rectangle>& cores,
                         const Plane<uint8_t>& out) {
  NUCLEISEG_DEVICE::assemble({cells, height / kernels::kCellSide, width / kernels::kCellSide},
                             origins, cores, out, lane_->work().handle());
}

void CudaSteps::mask(const ImageView& maps, uint8_t* out) {
  NUCLEISEG_DEVICE::mask(maps, settings_.rule.nucleus_threshold, out, lane_->work().handle());
}

void CudaSteps::label(const ImageView& maps, const kernels::LabelRule& rule, int32_t* out) {
  auto* const count = reinterpret_cast<int32_t*>(lane_->device(kLabelCount, sizeof(int32_t)));
  auto* const workspace = lane_->device(kWorkspace, label_workspace(maps.height, maps.width));
  NUCLEISEG_DEVICE::label(maps, rule, out, count, workspace, lane_->work().handle());
}

Outputs CudaSteps::places(const Outputs& outputs, const Size& size) {
  Outputs found;
  const int64_t pixels = size.pixels();
  if (outputs.mask) found.mask = block(kMask, pixels);
  if (outputs.labels) {
    found.labels =
        reinterpret_cast<int32_t*>(block(kLabels, pixels * static_cast<int64_t>(sizeof(int32_t))));
  }
  if (outputs.maps) found.maps = memory(Block::kMaps, pixels * kernels::kMapChannels);
  return found;
}

Outputs CudaSteps::host_outputs(const Outputs& outputs, const Size& size) {
  const auto pixels = static_cast<size_t>(size.pixels());
  Outputs found = outputs;
  if (is_device_memory(first_of(outputs))) {
    const auto pinned = [&](int name, size_t bytes) {
      return reinterpret_cast<uint8_t*>(lane_->staging(name, bytes));
    };
    if (outputs.mask) found.mask = pinned(kMaskOut, pixels);
    if (outputs.labels) {
      found.labels = reinterpret_cast<int32_t*>(pinned(kLabelsOut, pixels * sizeof(int32_t)));
    }
    if (outputs.maps) found.maps = pinned(kMapsOut, pixels * kernels::kMapChannels);
    host_outputs_ = found;
  }
  if (is_page_locked(found.labels)) std::memset(found.labels, 0, pixels * sizeof(int32_t));
  return found;
}

uint8_t* CudaSteps::staging(Block name, int64_t bytes) {
  return reinterpret_cast<uint8_t*>(
      lane_->staging(static_cast<int>(name), static_cast<size_t>(bytes)));
}

ImageView CudaSteps::staged(Block name, const ImageView& view) {
  return lane_->send(static_cast<int>(name), view);
}

ImageView CudaSteps::on_host(const ImageView& view) { return lane_->download(kHost, view); }

void CudaSteps::bring(const uint8_t* maps, uint8_t* rows, int64_t bytes) {
  const Size line = {1, bytes / kernels::kMapChannels};
  const ImageView here = lane_->download(kHost, pipeline::maps_view(maps, line));
  copy_on_host(rows, here.data, bytes, threads());
}

uint8_t* CudaSteps::as_output(const ImageView& maps, uint8_t*) {
  const int64_t pixel = kernels::kMapChannels;
  const bool is_dense = maps.channel_stride == 1 &&
                        (maps.width == 1 || maps.column_stride == pixel) &&
                        (maps.height == 1 || maps.row_stride == pixel * maps.width);
  const ImageView found =
      is_dense ? maps : lane_->upload(static_cast<int>(Block::kMaps), on_host(maps), threads());
  return reinterpret_cast<uint8_t*>(const_cast<std::byte*>(found.data));
}

Outputs CudaSteps::repeat(const Task& task, const ImageView& image,
                          const std::function<Outputs(const ImageView&)>& work) {
  if (task.kind == Task::kRun) finds_limits_ = true;  // which a graph does as well
  return lane_->repeat(key_of(task, settings_, image), image, work, device_.warn());
}

CudaSteps::Delivery CudaSteps::deliver(const void* from, void* to, int64_t bytes, int name) {
  if (!from || !to) return {};
  if (const auto* const seen = lane_->seen_from_host(from)) {
    if (!is_device_memory(to)) return {to, seen, bytes};
  }
  const auto count = static_cast<size_t>(bytes);
  const bool is_direct = is_device_memory(to) || is_page_locked(to);
  void* const target = is_direct ? to : lane_->staging(name, count);
  copy(target, from, count, lane_->copies().handle());
  return {to, is_direct ? nullptr : target, bytes};
}

void CudaSteps::clear(void* output, int64_t bytes) {
  if (!output) return;
  const auto count = static_cast<size_t>(bytes);
  if (is_device_memory(output)) {
    fill(output, 0, count, lane_->copies().handle());
  } else {
    std::memset(output, 0, count);
  }
}

cpu::Limits CudaSteps::finish(const Outputs& places, const Outputs& outputs, const Size& size) {
  const int64_t pixels = size.pixels();
  const int64_t label_bytes = pixels * static_cast<int64_t>(sizeof(int32_t));
  const int64_t map_bytes = pixels * kernels::kMapChannels;
  if (is_device_memory(first_of(outputs))) lane_->wait_for_default_stream();
  const Outputs from = first_of(host_outputs_) ? host_outputs_ : places;
  const Delivery deliveries[] = {deliver(from.mask, outputs.mask, pixels, kMaskOut),
                                 deliver(from.labels, outputs.labels, label_bytes, kLabelsOut),
                                 deliver(from.maps, outputs.maps, map_bytes, kMapsOut)};
  const Limits* const found = finds_limits_ && !are_known_ ? fetch_limits() : nullptr;
  lane_->synchronize();
  if (found) keep_limits(*found);
  if (is_blank()) {
    clear(outputs.mask, pixels);
    clear(outputs.labels, label_bytes);
    clear(outputs.maps, map_bytes);
    lane_->synchronize();
    return limits_;
  }
  for (const Delivery& one : deliveries) {
    if (one.staged) copy_on_host(one.to, one.staged, one.bytes, threads());
  }
  return limits_;
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE

namespace nucleiseg::pipeline {

template class Pipeline<NUCLEISEG_DEVICE::CudaDevice>;

}  // namespace nucleiseg::pipeline
