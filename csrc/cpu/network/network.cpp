#include "cpu/network/network.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "cpu/network/network_layer.h"
#include "cpu/network/network_pass.h"
#include "kernels/network.h"
#include "kernels/tiles.h"

namespace nucleiseg::cpu {
namespace {

using kernels::kLanes;
using network::check;
using network::kGrowth;
using network::kSide;

constexpr int kWidthUnit = 8;   // of which channels are a multiple
constexpr int kCellPixels = 2;  // pixels of the last tensor that its layer answers for at once

int8_t weight_of(const Kernel& kernel, int64_t output, int64_t input, int row, int column) {
  return kernel
      .weights[((output * kernel.inputs + input) * kernel.side + row) * kernel.side + column];
}

// Whether no sum can be as large as kMostSum.
bool fits_strips(const std::vector<Kernel>& kernels) {
  const int64_t outputs = kernels[0].outputs;
  for (int64_t output = 0; output < outputs; ++output) {
    int64_t total = 0;
    for (const Kernel& kernel : kernels) {
      const int64_t each = kernel.inputs * kSide * kSide;
      for (int64_t i = output * each; i < (output + 1) * each; ++i) {
        total += std::abs(int{kernel.weights[i]});
      }
    }
    if (total * -kLowest >= kMostSum) return false;
  }
  return true;
}

}  // namespace

Network::Network(const std::string& level)
    : Layers(kWidthUnit), convolution_(&cpu::convolution(level)) {}
Network::~Network() = default;

void Network::Layer::round(const Rounding& rounding, int period) {
  const int outputs = static_cast<int>(rounding.factors.size());
  for (int i = 0; i < shape.blocks * kLanes; ++i) {
    const auto output = static_cast<size_t>(i % period);
    const bool real = i % period < outputs;
    factors.push_back(real ? rounding.factors[output] : 0);
    offsets.push_back(real ? rounding.offsets[output] : 0);
  }
}

void Network::Layer::begin_sums(const std::vector<uint8_t>& zeros) {
  const int lanes = shape.blocks * kLanes;
  const int each = shape.taps * shape.steps * lanes * kernels::kProducts;
  begin.assign(static_cast<size_t>(lanes), 0);
  shifted_begin = begin;
  const auto* weight = reinterpret_cast<const int8_t*>(weights.data());
  for (const uint8_t zero : zeros) {
    for (int i = 0; i < each; ++i, ++weight) {
      const auto lane = static_cast<size_t>(i / kernels::kProducts % lanes);
      begin[lane] -= zero * *weight;
      shifted_begin[lane] += (kWideShift - zero) * *weight;
    }
  }
}

void Network::add_stem(const Kernel& kernel, const Rounding& rounding) {
  Layer layer(Kind::stem, {}, next_tensor());
  layer.shape.wide = true;
  // Its pixels are two of the image's apart, and see the bytes of a row's three or six as one
  // column.
  layer.shape.column_stride = 2 * kernels::kImageChannels;
  layer.pack(kernel.side, 1, kernel.side * kernels::kImageChannels,
             static_cast<int>(kernel.outputs), [&](int row, int, int byte, int output) {
               return weight_of(kernel, output, byte % kernels::kImageChannels, row,
                                byte / kernels::kImageChannels);
             });
  layer.begin_sums(std::vector<uint8_t>(static_cast<size_t>(kernel.side)));
  layer.round(rounding, stored(kernel.outputs));
  layers_.push_back(std::move(layer));
}

void Network::add_convolution(const std::vector<int>& sources, const std::vector<Kernel>& kernels,
                              const Rounding& rounding) {
  const Tensor& first = tensor(sources[0]);
  const int pixel = stored(first.channels);
  Layer layer(Kind::convolution, sources, next_tensor());
  const auto outputs = static_cast<int>(kernels[0].outputs);
  layer.shape.column_stride = pixel;
  layer.pack(kSide * static_cast<int>(sources.size()), kSide, static_cast<int>(first.channels),
             outputs, [&](int segment, int tap, int byte, int output) {
               return weight_of(kernels[static_cast<size_t>(segment / kSide)], output, byte,
                                segment % kSide, tap);
             });
  layer.round(rounding, stored(outputs));
  std::vector<uint8_t> zeros;
  for (const int source : sources) {
    zeros.insert(zeros.end(), kSide, zero_of(tensor(source).is_signed));
    layer.shape.wide |= tensor(source).is_signed;
  }
  layer.begin_sums(zeros);
  const int inputs = pixel * static_cast<int>(sources.size());
  if (convolution_->convolve_strip && fits_strips(kernels)) {
    layer.transform(inputs, [&](int input, int row, int column, int output) {
      const Kernel& kernel = kernels[static_cast<size_t>(input / pixel)];
      const bool real = input % pixel < kernel.inputs && output < kernel.outputs;
      return real ? weight_of(kernel, output, input % pixel, row, column) : int8_t{0};
    });
  }
  layers_.push_back(std::move(layer));
}

void Network::add_grow(int source, const Kernel& kernel, const Rounding& rounding) {
  const Tensor& below = tensor(source);
  Layer layer(Kind::grow, {source}, next_tensor());
  layer.shape.column_stride = stored(below.channels);
  layer.shape.low = kLowest;
  layer.shape.zero = kSignedZero;
  const auto outputs = static_cast<int>(kernel.outputs);
  const int period = stored(outputs);
  // A segment here is a row of what grows: its columns and channels lie side by side.
  layer.pack(kGrowth, 1, static_cast<int>(below.channels), kGrowth * period,
             [&](int row, int, int byte, int place) {
               const int output = place % period;
               if (output >= outputs) return int8_t{0};
               const int64_t at = byte * kernel.outputs + output;
               return kernel.weights[(at * kGrowth + row) * kGrowth + place / period];
             });
  layer.begin_sums({0});
  layer.round(rounding, period);
  layers_.push_back(std::move(layer));
}

void Network::add_pool(int source) {
  layers_.emplace_back(Kind::pool, std::vector<int>{source}, next_tensor());
}

void Network::add_cells(int source, const Kernel& kernel, const Rounding& rounding) {
  const Tensor& last = tensor(source);
  Layer layer(Kind::cells, {source}, kNone);
  layer.shape.low = -kernels::kLogitLimit;
  layer.shape.high = kernels::kLogitLimit;
  // Two pixels' eight outputs are one block: both look at the same four columns.
  layer.shape.column_stride = stored(last.channels);
  layer.shape.advance = kCellPixels;
  layer.pack(kSide, kSide + kCellPixels - 1, static_cast<int>(last.channels),
             kCellPixels * kernels::kCellBytes, [&](int row, int tap, int byte, int output) {
               const int column = tap - output / kernels::kCellBytes;
               const bool seen = 0 <= column && column < kSide;
               return seen ? weight_of(kernel, output % kernels::kCellBytes, byte, row, column)
                           : int8_t{0};
             });
  layer.begin_sums(std::vector<uint8_t>(kSide));
  layer.round(rounding, kernels::kCellBytes);
  layers_.push_back(std::move(layer));
}

void Network::run(const uint8_t* tiles, int64_t count, int64_t height, int64_t width,
                  uint8_t* cells, int threads) const {
  check(is_complete(), "network: it has no last layer");
  std::unique_ptr<Workspace> space = workspace(height, width);
  space->make_room(*this, threads);
  const int64_t pixels = height * width;
  for (int64_t i = 0; i < count; ++i) {
    Pass(*this, *space, tiles + i * pixels * kernels::kImageChannels,
         cells + i * pixels * kernels::kCellBytes / 4)
        .run(threads);
  }
  Idle& idle = idle_.mine();
  const std::lock_guard<std::mutex> guard(idle.lock);
  idle.spaces.push_back(std::move(space));
}

std::unique_ptr<Network::Workspace> Network::workspace(int64_t height, int64_t width) const {
  std::unique_ptr<Workspace> space;
  {
    Idle& idle = idle_.mine();
    const std::lock_guard<std::mutex> guard(idle.lock);
    if (!idle.spaces.empty()) {
      space = std::move(idle.spaces.back());
      idle.spaces.pop_back();
    }
  }
  if (!space) space = std::make_unique<Workspace>();
  space->plan(*this, height, width);
  return space;
}

}  // namespace nucleiseg::cpu
