#include "cpu/network/network.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "cpu/network/network_layer.h"
#include "cpu/network/network_pass.h"
#include "kernels/network.h"
#include "kernels/tiles.h"
#include "network/checks.h"

namespace nucleiseg::cpu {
namespace {

using kernels::kLanes;
using network::check;
using network::check_kernel;
using network::check_width;
using network::kGrowth;
using network::kMostHalvings;
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

// Channels as they are stored: whole blocks, of which the last may have some that are not used.
int stored(int64_t channels) { return static_cast<int>((channels + kLanes - 1) / kLanes * kLanes); }

}  // namespace

Network::Network(const std::string& level) : convolution_(&cpu::convolution(level)) {}
Network::~Network() = default;

const Network::Tensor& Network::tensor(int id) const {
  check(0 <= id && id < static_cast<int>(tensors_.size()),
        "source: there is no tensor " + std::to_string(id));
  return tensors_[static_cast<size_t>(id)];
}

int Network::add(std::unique_ptr<Layer> layer, int64_t channels, int shrink, bool is_signed) {
  check(!is_complete(), "network: it is complete");
  check(shrink <= kMostHalvings, "source: accepted is one of at most " +
                                     std::to_string(kMostHalvings) + " times halved sides");
  tensors_.push_back({channels, stored(channels), shrink, is_signed ? kSignedZero : uint8_t{0}});
  layer->target = static_cast<int>(tensors_.size()) - 1;
  layers_.push_back(std::move(layer));
  return layers_.back()->target;
}

void Network::Layer::round(const Rounding& rounding, int period) {
  const int outputs = static_cast<int>(rounding.factors.size());
  for (int i = 0; i < blocks * kLanes; ++i) {
    const auto output = static_cast<size_t>(i % period);
    const bool real = i % period < outputs;
    factors.push_back(real ? rounding.factors[output] : 0);
    offsets.push_back(real ? rounding.offsets[output] : 0);
  }
}

void Network::Layer::begin_sums(const std::vector<uint8_t>& zeros) {
  const int lanes = blocks * kLanes;
  begin.assign(static_cast<size_t>(lanes), 0);
  shifted_begin = begin;
  const auto* weight = reinterpret_cast<const int8_t*>(weights.data());
  for (const uint8_t zero : zeros) {
    for (int i = 0; i < taps * steps * lanes * kernels::kProducts; ++i, ++weight) {
      const auto lane = static_cast<size_t>(i / kernels::kProducts % lanes);
      begin[lane] -= zero * *weight;
      shifted_begin[lane] += (kWideShift - zero) * *weight;
    }
  }
}

int Network::stem(const Kernel& kernel, const Rounding& rounding) {
  check_kernel(kernel, kernels::kImageChannels, rounding);
  check_width(kernel, kWidthUnit);
  auto layer = std::make_unique<Layer>();
  layer->kind = Kind::stem;
  layer->wide = true;
  // Its pixels are two of the image's apart, and see the bytes of a row's three or six as one
  // column.
  layer->column_stride = 2 * kernels::kImageChannels;
  layer->pack(kernel.side, 1, kernel.side * kernels::kImageChannels,
              static_cast<int>(kernel.outputs), [&](int row, int, int byte, int output) {
                return weight_of(kernel, output, byte % kernels::kImageChannels, row,
                                 byte / kernels::kImageChannels);
              });
  layer->begin_sums(std::vector<uint8_t>(static_cast<size_t>(layer->segments)));
  layer->round(rounding, stored(kernel.outputs));
  return add(std::move(layer), kernel.outputs, 1, false);
}

int Network::convolution(const std::vector<int>& sources, const std::vector<Kernel>& kernels,
                         const Rounding& rounding) {
  check(!sources.empty() && sources.size() <= kMostSources && sources.size() == kernels.size(),
        "kernels: accepted is one for each source, of which there are one or two");
  const Tensor& first = tensor(sources[0]);
  for (size_t i = 0; i < sources.size(); ++i) {
    const Tensor& source = tensor(sources[i]);
    check_kernel(kernels[i], source.channels, rounding);
    check_width(kernels[i], kWidthUnit);
    check(source.channels == first.channels && source.shrink == first.shrink,
          "sources: accepted are tensors of one size");
  }
  auto layer = std::make_unique<Layer>();
  layer->kind = Kind::convolution;
  layer->sources = sources;
  const auto outputs = static_cast<int>(kernels[0].outputs);
  layer->column_stride = first.stored;
  layer->pack(kSide * static_cast<int>(sources.size()), kSide, static_cast<int>(first.channels),
              outputs, [&](int segment, int tap, int byte, int output) {
                return weight_of(kernels[static_cast<size_t>(segment / kSide)], output, byte,
                                 segment % kSide, tap);
              });
  layer->round(rounding, stored(outputs));
  std::vector<uint8_t> zeros;
  for (const int source : sources) {
    zeros.insert(zeros.end(), kSide, tensor(source).zero);
    layer->wide = layer->wide || tensor(source).zero != 0;
  }
  layer->begin_sums(zeros);
  const int inputs = first.stored * static_cast<int>(sources.size());
  if (convolution_->convolve_strip && fits_strips(kernels)) {
    layer->transform(inputs, [&](int input, int row, int column, int output) {
      const Kernel& kernel = kernels[static_cast<size_t>(input / first.stored)];
      const bool real = input % first.stored < kernel.inputs && output < kernel.outputs;
      return real ? weight_of(kernel, output, input % first.stored, row, column) : int8_t{0};
    });
  }
  return add(std::move(layer), outputs, first.shrink, false);
}

int Network::grow(int source, const Kernel& kernel, const Rounding& rounding) {
  const Tensor& below = tensor(source);
  check_kernel(kernel, below.channels, rounding);
  check_width(kernel, kWidthUnit);
  check(below.zero == 0 && below.shrink > 1, "source: accepted is a tensor that can grow");
  auto layer = std::make_unique<Layer>();
  layer->kind = Kind::grow;
  layer->sources = {source};
  layer->column_stride = below.stored;
  layer->low = kLowest;
  const auto outputs = static_cast<int>(kernel.outputs);
  const int period = stored(outputs);
  // A segment here is a row of what grows: its columns and channels lie side by side.
  layer->pack(kGrowth, 1, static_cast<int>(below.channels), kGrowth * period,
              [&](int row, int, int byte, int place) {
                const int output = place % period;
                if (output >= outputs) return int8_t{0};
                const int64_t at = byte * kernel.outputs + output;
                return kernel.weights[(at * kGrowth + row) * kGrowth + place / period];
              });
  layer->begin_sums({0});
  layer->round(rounding, period);
  return add(std::move(layer), outputs, below.shrink - 1, true);
}

int Network::pool(int source) {
  const Tensor above = tensor(source);
  auto layer = std::make_unique<Layer>();
  layer->sources = {source};
  return add(std::move(layer), above.channels, above.shrink + 1, above.zero != 0);
}

void Network::cells(int source, const Kernel& kernel, const Rounding& rounding) {
  check(!is_complete(), "network: it is complete");
  const Tensor& last = tensor(source);
  check_kernel(kernel, last.channels, rounding);
  check(kernel.outputs == kernels::kCellBytes && last.shrink == 1 && last.zero == 0,
        "kernel: accepted are 8 outputs of a tensor of half the image's sides");
  auto layer = std::make_unique<Layer>();
  layer->kind = Kind::cells;
  layer->sources = {source};
  layer->low = -kernels::kLogitLimit;
  layer->high = kernels::kLogitLimit;
  // Two pixels' eight outputs are one block: both look at the same four columns.
  layer->column_stride = last.stored;
  layer->advance = kCellPixels;
  layer->pack(kSide, kSide + kCellPixels - 1, static_cast<int>(last.channels),
              kCellPixels * kernels::kCellBytes, [&](int row, int tap, int byte, int output) {
                const int column = tap - output / kernels::kCellBytes;
                const bool seen = 0 <= column && column < kSide;
                return seen ? weight_of(kernel, output % kernels::kCellBytes, byte, row, column)
                            : int8_t{0};
              });
  layer->begin_sums(std::vector<uint8_t>(kSide));
  layer->round(rounding, kernels::kCellBytes);
  layers_.push_back(std::move(layer));
}

bool Network::is_complete() const {
  return !layers_.empty() && layers_.back()->kind == Kind::cells;
}

int64_t Network::stride() const {
  int shrink = 2;  // the last layer takes two pixels of half the resolution at once
  for (const Tensor& one : tensors_) shrink = std::max(shrink, one.shrink);
  return int64_t{1} << shrink;
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
