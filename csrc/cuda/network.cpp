#include "cuda/network.h"

#include <numeric>
#include <utility>

#include "cuda/device.h"
#include "cuda/network_layer.h"
#include "kernels/tiles.h"
#include "network/probability.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

using network::check;
using network::kGrowth;
using network::kSide;

constexpr size_t kAlignment = 256;                 // of tensors
constexpr int32_t kLowest = -128;                  // of a level with a sign
constexpr int64_t kMostPixels = int64_t{1} << 28;  // so that units are counted in 32 bits
constexpr int64_t kBlocksOfOne = 8;                // that keep a multiprocessor busy
constexpr int32_t kZeroByte = 128;                 // what is taken from the image's bytes

// Channels of each source, and output columns.
Form form_of(int taps, int64_t channels, int64_t columns) {
  const int slices = channels % (2 * kUnit) == 0 ? 2 : 1;
  const int tiles = columns % 32 == 0 ? 4 : columns % 16 == 0 ? 2 : 1;
  return {taps, slices, tiles};
}

std::string words_of(const char* kind, int64_t inputs, int64_t outputs, int shrink) {
  return std::string(kind) + " " + std::to_string(inputs) + ">" + std::to_string(outputs) + " 1/" +
         std::to_string(1 << shrink);
}

std::vector<uint8_t> probabilities() {
  std::vector<uint8_t> found;
  for (int32_t logit = -kernels::kLogitLimit; logit <= kernels::kLogitLimit; ++logit) {
    found.push_back(static_cast<uint8_t>(network::rounded_probability(logit)));
  }
  return found;
}

}  // namespace

// Where tensors begin in the workspace.
struct Network::Plan {
  std::vector<size_t> places;
  size_t bytes = 0;
};

// A run's arguments.
struct Network::Batch {
  const uint8_t* tiles;
  int64_t count;
  int64_t height;
  int64_t width;
  uint8_t* cells;
  uint8_t* workspace;
  Plan plan;
  cudaStream_t stream;

  uint8_t* tensor(int id) const { return workspace + plan.places[static_cast<size_t>(id)]; }
  const uint4* units(int id) const { return reinterpret_cast<const uint4*>(tensor(id)); }
};

Network::Network()
    : Layers(kUnit),
      enough_blocks_(kBlocksOfOne * int64_t{device(current_device()).multiprocessors}) {}
Network::~Network() = default;

std::vector<std::string> Network::layers() const {
  std::vector<std::string> found;
  for (const Layer& layer : layers_) found.push_back(layer.words);
  return found;
}

void Network::add_stem(const Kernel& kernel, const Rounding& rounding) {
  Layer layer(Kind::stem, {}, rounding);
  layer.target = next_tensor();
  layer.side = kernel.side;
  layer.columns = static_cast<int32_t>(kernel.outputs);
  layer.words = words_of("stem", kernel.inputs, kernel.outputs, 1);
  const int64_t bytes = kernel.inputs * kernel.side * kernel.side;
  std::vector<int32_t> begin;
  for (int64_t output = 0; output < kernel.outputs; ++output) {
    const int8_t* const first = kernel.weights + output * bytes;
    begin.push_back(kZeroByte * std::accumulate(first, first + bytes, int32_t{0}));
  }
  layer.weights = Constants(packed_stem(kernel));
  layer.begin = Constants(begin);
  layers_.push_back(std::move(layer));
}

// Of 3 x 3, with the columns that its kernels have.
Network::Layer Network::convolution_layer(Kind kind, const std::vector<int>& sources,
                                          const std::vector<Kernel>& kernels,
                                          const Rounding& rounding, const char* words) const {
  const Tensor& first = tensor(sources[0]);
  const int64_t outputs = kernels[0].outputs;
  Layer layer(kind, sources, rounding);
  layer.columns = static_cast<int32_t>(outputs);
  layer.form = form_of(kSide * kSide, first.channels, outputs);
  layer.words = words_of(words, first.channels, outputs, first.shrink);
  const auto weight = [&](int source, int tap, int64_t channel, int64_t output) {
    return weight_of(kernels[static_cast<size_t>(source)], output, channel, tap);
  };
  layer.weights = Constants(
      packed(layer.form, static_cast<int>(sources.size()), first.channels, outputs, weight));
  return layer;
}

void Network::add_convolution(const std::vector<int>& sources, const std::vector<Kernel>& kernels,
                              const Rounding& rounding) {
  const char* const words = sources.size() == 1 ? "convolution" : "two convolutions";
  Layer layer = convolution_layer(Kind::convolution, sources, kernels, rounding, words);
  layer.target = next_tensor();
  layers_.push_back(std::move(layer));
}

void Network::add_grow(int source, const Kernel& kernel, const Rounding& rounding) {
  const Tensor& below = tensor(source);
  Rounding both = rounding;
  both.factors.insert(both.factors.end(), rounding.factors.begin(), rounding.factors.end());
  both.offsets.insert(both.offsets.end(), rounding.offsets.begin(), rounding.offsets.end());
  Layer layer(Kind::grow, {source}, both);
  layer.target = next_tensor();
  layer.out_rows = kGrowth;
  layer.columns = static_cast<int32_t>(kGrowth * kernel.outputs);
  layer.low = kLowest;
  layer.form = form_of(1, below.channels, layer.columns);
  layer.words = words_of("grow", below.channels, kernel.outputs, below.shrink - 1);
  // Its output columns are the channels of a row's two pixels, one row after the other.
  const auto weight = [&](int, int, int64_t channel, int64_t output) {
    const int64_t pixel = output / kernel.outputs;
    const int64_t at = channel * kernel.outputs + output % kernel.outputs;
    return kernel.weights[at * kGrowth * kGrowth + pixel];
  };
  layer.weights =
      Constants(packed(layer.form, 1, below.channels, kGrowth * kGrowth * kernel.outputs, weight));
  layers_.push_back(std::move(layer));
}

void Network::add_pool(int source) {
  const Tensor& above = tensor(source);
  Layer layer(Kind::pool, {source}, {});
  layer.target = next_tensor();
  layer.words = words_of("pool", above.channels, above.channels, above.shrink + 1);
  layers_.push_back(std::move(layer));
}

void Network::add_cells(int source, const Kernel& kernel, const Rounding& rounding) {
  Layer layer = convolution_layer(Kind::cells, {source}, {kernel}, rounding, "cells");
  layer.low = -kernels::kLogitLimit;
  layer.high = kernels::kLogitLimit;
  layer.probabilities = Constants(probabilities());
  layers_.push_back(std::move(layer));
}

Network::Plan Network::plan(int64_t count, int64_t height, int64_t width) const {
  std::vector<size_t> sizes;
  for (const Tensor& tensor : tensors()) {
    const int64_t pixels = (height >> tensor.shrink) * (width >> tensor.shrink);
    const auto bytes = static_cast<size_t>(count * pixels * tensor.channels);
    sizes.push_back((bytes + kAlignment - 1) / kAlignment * kAlignment);
  }
  const Buffers shared = share_memory(sizes);
  Plan plan;
  std::vector<size_t> begins;
  for (const size_t size : shared.sizes) {
    begins.push_back(plan.bytes);
    plan.bytes += size;
  }
  for (const size_t buffer : shared.of_tensor) plan.places.push_back(begins[buffer]);
  return plan;
}

size_t Network::workspace(int64_t count, int64_t height, int64_t width) const {
  return plan(count, height, width).bytes;
}

void Network::run(const uint8_t* tiles, int64_t count, int64_t height, int64_t width,
                  uint8_t* cells, void* workspace, cudaStream_t stream, int only) const {
  check(is_complete(), "network: it has no last layer");
  check(count * height * width <= kMostPixels,
        "tiles: accepted are at most " + std::to_string(kMostPixels) + " pixels at once");
  const Batch batch = {tiles,
                       count,
                       height,
                       width,
                       cells,
                       static_cast<uint8_t*>(workspace),
                       plan(count, height, width),
                       stream};
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (only < 0 || static_cast<int>(i) == only) launch(layers_[i], batch);
  }
}

void Network::launch(const Layer& layer, const Batch& batch) const {
  if (layer.kind == Kind::stem) {
    const Stem work = {batch.tiles,
                       static_cast<int32_t>(batch.count),
                       static_cast<int32_t>(batch.height / 2),
                       static_cast<int32_t>(batch.width / 2),
                       layer.weights.as<uint4>(),
                       layer.begin.as<int32_t>(),
                       layer.levels(),
                       batch.tensor(layer.target),
                       layer.columns};
    NUCLEISEG_DEVICE::stem(work, layer.side, batch.stream);
  } else if (layer.kind == Kind::pool) {
    const Tensor& target = tensor(layer.target);
    NUCLEISEG_DEVICE::pool(batch.units(layer.sources[0]), batch.count,
                           batch.height >> target.shrink, batch.width >> target.shrink,
                           target.channels / kUnit,
                           reinterpret_cast<uint4*>(batch.tensor(layer.target)), batch.stream);
  } else {
    launch_convolution(layer, batch);
  }
}

void Network::launch_convolution(const Layer& layer, const Batch& batch) const {
  const Tensor& source = tensor(layer.sources[0]);
  Convolution work = {};
  for (size_t i = 0; i < layer.sources.size(); ++i) {
    work.sources[i] = batch.units(layer.sources[i]);
  }
  work.source_count = static_cast<int32_t>(layer.sources.size());
  work.units = static_cast<int32_t>(source.channels / kUnit);
  work.count = static_cast<int32_t>(batch.count);
  work.height = static_cast<int32_t>(batch.height >> source.shrink);
  work.width = static_cast<int32_t>(batch.width >> source.shrink);
  work.weights = layer.weights.as<uint4>();
  work.levels = layer.levels();
  work.out = layer.target < 0 ? batch.cells : batch.tensor(layer.target);
  work.columns = layer.columns;
  work.out_rows = layer.out_rows;
  work.enough_blocks = enough_blocks_;
  convolve(work, layer.form, batch.stream);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
