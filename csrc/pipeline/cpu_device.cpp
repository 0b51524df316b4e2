#include "pipeline/cpu_device.h"

#include "cpu/label/label.h"
#include "cpu/label/mask.h"
#include "cpu/tiles/resize.h"
#include "cpu/tiles/tiles.h"

namespace nucleiseg::pipeline {
namespace {

constexpr int64_t kLarge = 1024 * 1024;  // pixels above which a tile is large

int64_t bytes_of(ValueType type) {
  return with_value_type(type, [](auto zero) { return static_cast<int64_t>(sizeof zero); });
}

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

cpu::Limits CpuSteps::limits(const ImageView& image, double low, double high) {
  const Timer timer(device_.times(), Part::kPrepare);
  return cpu::limits(image, low, high, threads_);
}

void CpuSteps::normalize(const ImageView& image, uint8_t* out) {
  const Timer timer(device_.times(), Part::kPrepare);
  cpu::normalize(image, static_cast<float>(limits_.low), static_cast<float>(limits_.high),
                 static_cast<float>(limits_.ceiling), out, threads_);
}

void CpuSteps::gather(const Plane<const uint8_t>& image, const std::vector<Point>& origins,
                      int64_t height, int64_t width, uint8_t* out) {
  const Timer timer(device_.times(), Part::kPrepare);
  cpu::gather(image, origins, height, width, out, threads_);
}

void CpuSteps::infer(const uint8_t* tiles, int64_t count, int64_t height, int64_t width,
                     uint8_t* cells) {
  const Timer timer(device_.times(), Part::kInfer);
  device_.infer(tiles, count, height, width, cells, threads_);
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
  cpu::assemble(tiles, origins, cores, out, threads_);
}

void CpuSteps::mask(const ImageView& maps, uint8_t* out) {
  const Timer timer(device_.times(), Part::kDecode);
  cpu::mask(maps, threshold_, out, maps.width, threads_);
}

void CpuSteps::label(const ImageView& maps, const kernels::LabelRule& rule, int32_t* out) {
  const Timer timer(device_.times(), Part::kDecode);
  cpu::label(maps, rule, out, threads_);
}

ImageView ResizedSource::part(const Rectangle& part) {
  const int64_t height = part.row_end - part.row_begin;
  const int64_t width = part.column_end - part.column_begin;
  const int64_t value = bytes_of(image_.type);
  const int64_t pixel = value * image_.channels;
  uint8_t* out = steps_.memory(Block::kResized, height * width * pixel);
  cpu::resize(image_, size_.height, size_.width, part, out, steps_.threads());
  return {reinterpret_cast<const std::byte*>(out),
          image_.type,
          height,
          width,
          image_.channels,
          width * pixel,
          pixel,
          value};
}

}  // namespace nucleiseg::pipeline
