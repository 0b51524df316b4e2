#include "cuda/network.h"

#include <limits>
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

constexpr const char* kDot = "dp4a";
constexpr const char* kMatrix = "mma";

constexpr size_t kAlignment = 256;                 // of tensors
constexpr int32_t kLowest = -128;                  // of a level with a sign
constexpr int64_t kMostPixels = int64_t{1} << 28;  // so that units are counted in 32 bits
constexpr int64_t kBlocksOfOne = 8;                // that keep a multiprocessor busy
constexpr int32_t kZeroByte = 128;                 // what is taken from the image's bytes

bool is_matrix(const std::string& level) {
  check(level.empty() || level == kDot || level == kMatrix,
        "level: got '" + level + "'; accepted are " + kDot + " and " + kMatrix);
  return level != kDot;
}

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

std::vector<std::string> convolution_levels() { return {kDot, kMatrix}; }

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

Network::Network(const std::string& level)
    : Layers(kUnit),
      multiplies_matrices_(is_matrix(level)),
      enough_blocks_(kBlocksOfOne * int64_t{device(current_device()).multiprocessors}) {}
Network::~Network() = default;

const char* Network::level() const { return multiplies_matrices_ ? kMatrix : kDot; }

std::vector<std::string> Network::layers() const {
  std::vector<std::string> found;
  for (const auto& layer : layers_) found.push_back(layer->words);
  return found;
}

void Network::add_stem(const Kernel& kernel, const Rounding& rounding) {
  auto layer = std::make_unique<Layer>();
  layer->target = next_tensor();
  layer->kind = Kind::stem;
  layer->side = kernel.side;
  layer->columns = static_cast<int32_t>(kernel.outputs);
  layer->words = words_of("stem", kernel.inputs, kernel.outputs, 1);
  std::vector<int32_t> begin;
  for (int64_t output = 0; output < kernel.outputs; ++output) {
    int32_t sum = 0;
    for (int byte = 0; byte < kernel.side * kernel.side * kernels::kImageChannels; ++byte) {
      sum += kernel.weights[output * kernel.side * kernel.side * kernels::kImageChannels + byte];
    }
    begin.push_back(kZeroByte * sum);
  }
  layer->weights =
      Constants(multiplies_matrices_ ? stem_for_matrices(kernel) : stem_for_dot(kernel));
  layer->begin = Constants(begin);
  layer->factors = Constants(rounding.factors);
  layer->offsets = Constants(rounding.offsets);
  layers_.push_back(std::move(layer));
}

void Network::add_convolution(const std::vector<int>& sources, const std::vector<Kernel>& kernels,
                              const Rounding& rounding) {
  const Tensor& first = tensor(sources[0]);
  const int64_t outputs = kernels[0].outputs;
  auto layer = std::make_unique<Layer>();
  layer->target = next_tensor();
  layer->kind = Kind::convolution;
  layer->sources = sources;
  layer->columns = static_cast<int32_t>(outputs);
  layer->form = form_of(kSide * kSide, first.channels, outputs);
  layer->words = words_of(sources.size() == 1 ? "convolution" : "two convolutions", first.channels,
                          outputs, first.shrink);
  const auto weight = [&](int source, int tap, int64_t channel, int64_t output) {
    return weight_of(kernels[static_cast<size_t>(source)], output, channel, tap);
  };
  layer->weights = Constants(packed(layer->form, static_cast<int>(sources.size()), first.channels,
                                    outputs, multiplies_matrices_, weight));
  layer->factors = Constants(rounding.factors);
  layer->offsets = Constants(rounding.offsets);
  layers_.push_back(std::move(layer));
}

void Network::add_grow(int source, const Kernel& kernel, const Rounding& rounding) {
  const Tensor& below = tensor(source);
  auto layer = std::make_unique<Layer>();
  layer->target = next_tensor();
  layer->kind = Kind::grow;
  layer->sources = {source};
  layer->out_rows = kGrowth;
  layer->columns = static_cast<int32_t>(kGrowth * kernel.outputs);
  layer->low = kLowest;
  layer->form = form_of(1, below.channels, layer->columns);
  layer->words = words_of("grow", below.channels, kernel.outputs, below.shrink - 1);
  // Its output columns are the channels of a row's two pixels, one row after the other.
  const auto weight = [&](int, int, int64_t channel, int64_t output) {
    const int64_t pixel = output / kernel.outputs;
    const int64_t at = channel * kernel.outputs + output % kernel.outputs;
    return kernel.weights[at * kGrowth * kGrowth + pixel];
  };
  layer->weights =
      Constants(packed(layer->form, 1, below.channels, kGrowth * kGrowth * kernel.outputs,
                       multiplies_matrices_, weight));
  Rounding both = rounding;
  both.factors.insert(both.factors.end(), rounding.factors.begin(), rounding.factors.end());
  both.offsets.insert(both.offsets.end(), rounding.offsets.begin(), rounding.offsets.end());
  layer->factors = Constants(both.factors);
  layer->offsets = Constants(both.offsets);
  layers_.push_back(std::move(layer));
}

void Network::add_pool(int source) {
  const Tensor& above = tensor(source);
  auto layer = std::make_unique<Layer>();
  layer->target = next_tensor();
  layer->sources = {source};
  layer->words = words_of("pool", above.channels, above.channels, above.shrink + 1);
  layers_.push_back(std::move(layer));
}

void Network::add_cells(int source, const Kernel& kernel, const Rounding& rounding) {
  const Tensor& last = tensor(source);
  auto layer = std::make_unique<Layer>();
  layer->kind = Kind::cells;
  layer->sources = {source};
  layer->columns = static_cast<int32_t>(kernel.outputs);
  layer->low = -kernels::kLogitLimit;
  layer->high = kernels::kLogitLimit;
  layer->form = form_of(kSide * kSide, last.channels, kernel.outputs);
  layer->words = words_of("cells", last.channels, kernel.outputs, last.shrink);
  const auto weight = [&](int, int tap, int64_t channel, int64_t output) {
    return weight_of(kernel, output, channel, tap);
  };
  layer->weights = Constants(
      packed(layer->form, 1, last.channels, kernel.outputs, multiplies_matrices_, weight));
  layer->factors = Constants(rounding.factors);
  layer->offsets = Constants(rounding.offsets);
  layer->probabilities = Constants(probabilities());
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
    if (only < 0 || static_cast<int>(i) == only) launch(*layers_[i], batch);
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
    const auto stem = multiplies_matrices_ ? stem_with_matrix : stem_with_dot;
    stem(work, layer.side, batch.stream);
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
  const auto convolve = multiplies_matrices_ ? convolve_with_matrix : convolve_with_dot;
  convolve(work, layer.form, batch.stream);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
