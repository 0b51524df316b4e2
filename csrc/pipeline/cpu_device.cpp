#include "pipeline/cpu_device.h"

#include <cstring>

#include "cpu/label/label.h"
#include "cpu/tiles/tiles.h"

namespace nucleiseg::pipeline {
namespace {

constexpr int64_t kLarge = 1024 * 1024;  // pixels above which a tile is large

}  // namespace

void CpuDevice::infer(const uint8_t* tiles, int64_t count, int64_t height, int64_t width,
                      uint8_t* cells, int threads) {
  times_.add_pixels(count * height * width);
  if (height * width <= kLarge) return network_->run(tiles, count, height, width, cells, threads);
  const std::lock_guard<std::mutex> guard(large_.mine());
  network_->run(tiles, count, height, width, cells, threads_);
}

uint8_t* CpuSteps::memory(Block name, int64_t bytes) {
  Memory& block = blocks_[static_cast<size_t>(name)];
  if (block.size < bytes) {
    block.bytes = {};
    block.bytes = cpu::AlignedBytes(static_cast<size_t>(bytes));
    block.size = bytes;
  }
  return block.bytes.data();
}

void CpuSteps::learn_limits(const std::optional<cpu::Limits>& limits) {
  if (!limits) return find_limits(image_);
  limits_ = *limits;
  has_limits_ = true;
}

void CpuSteps::find_limits(const ImageView& image) {
  const Timer timer(device_.times(), Part::kPrepare);
  limits_ = cpu::limits(image, settings_.low, settings_.high, threads());
  has_limits_ = true;
}

void CpuSteps::normalize(const ImageView& image, uint8_t* out) {
  const Timer timer(device_.times(), Part::kPrepare);
  cpu::normalize(image, static_cast<float>(limits_.low), static_cast<float>(limits_.high),
                 static_cast<float>(limits_.ceiling), out, threads());
}

void CpuSteps::gather(const Plane<const uint8_t>& image, const std::vector<Point>& origins,
                      int64_t height, int64_t width, uint8_t* out) {
  const Timer timer(device_.times(), Part::kPrepare);
  cpu::gather(image, origins, height, width, out, threads());
}

void CpuSteps::infer(const uint8_t* tiles, int64_t count, int64_t height, int64_t width,
                     uint8_t* cells) {
  const Timer timer(device_.times(), Part::kInfer);
  device_.infer(tiles, count, height, width, cells, threads());
}

void CpuSteps::assemble(const uint8_t* cells, int64_t height, int64_t width,
                        const std::vector<Point>& origins, const std::vector<Rectangle>& cores,
                        const Plane<uint8_t>& out) {
  const Timer timer(device_.times(), Part::kAssemble);
  std::vector<cpu::Cells> tiles;
  for (size_t i = 0; i < origins.size(); ++i) {
    const int64_t before = static_cast<int64_t>(i) * height * width * kernels::kMapChannels;
    tiles.push_back({cells + before, width / kernels::kCellSide * kernels::kCellBytes});
  }
  cpu::assemble(tiles, origins, cores, out, threads());
}

void CpuSteps::mask(const ImageView& maps, uint8_t* out) {
  const Timer timer(device_.times(), Part::kDecode);
  cpu::mask(maps, settings_.rule.nucleus_threshold, out, maps.width, threads());
}

void CpuSteps::label(const ImageView& maps, const kernels::LabelRule& rule, int32_t* out) {
  const Timer timer(device_.times(), Part::kDecode);
  cpu::label(maps, rule, out, threads());
}

uint8_t* CpuSteps::as_output(const ImageView& maps, uint8_t* out) const {
  const int64_t length = maps.values_per_row();
  std::vector<uint8_t> scratch;
  for (int64_t row = 0; row < maps.height; ++row) {
    const uint8_t* values = cpu::row_values<uint8_t>(maps, row, scratch);
    if (values == out + row * length) break;  // they were made there
    std::memcpy(out + row * length, values, static_cast<size_t>(length));
  }
  return out;
}

cpu::Limits CpuSteps::finish(const Outputs&, const Outputs& outputs, const Size& size) const {
  if (!is_blank()) return limits_;
  const auto pixels = static_cast<size_t>(size.pixels());
  if (outputs.mask) std::memset(outputs.mask, 0, pixels);
  if (outputs.maps) std::memset(outputs.maps, 0, pixels * kernels::kMapChannels);
  return limits_;  // the labels came filled with 0
}

template class Pipeline<CpuDevice>;

}  // namespace nucleiseg::pipeline
