#include "network/layers.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/tiles.h"

namespace nucleiseg::network {
namespace {

constexpr int kMostHalvings = 8;      // of the image's sides
constexpr int kMostLevels = 1 << 30;  // that a sum may be, before it is cut to its range

// `unit` is what the processor takes channels by.
void check_width(const Kernel& kernel, int unit) {
  const int64_t width = kernel.outputs;
  check(unit <= width && width <= kMostChannels && width % unit == 0,
        "kernel: got " + std::to_string(width) + " output channels; accepted are multiples of " +
            std::to_string(unit) + " up to " + std::to_string(kMostChannels));
}

void check_kernel(const Kernel& kernel, int64_t inputs, const Rounding& rounding) {
  check(kernel.inputs == inputs, "kernel: has " + std::to_string(kernel.inputs) +
                                     " input channels, its source has " + std::to_string(inputs));
  const auto outputs = static_cast<size_t>(kernel.outputs);
  check(rounding.factors.size() == outputs && rounding.offsets.size() == outputs,
        "factors, offsets: accepted is one for each of " + std::to_string(outputs) + " outputs");
  // So that every sum, brought to its scale, fits into 32 bits.
  const double largest = 255.0 * 127 * kSide * kSide * kMostChannels * kMostSources;
  for (size_t i = 0; i < outputs; ++i) {
    const double bound = std::fabs(rounding.factors[i]) * largest + std::fabs(rounding.offsets[i]);
    check(bound < kMostLevels,
          "factors, offsets: accepted are finite numbers that bring sums below " +
              std::to_string(kMostLevels));
  }
}

}  // namespace

const Layers::Tensor& Layers::tensor(int id) const {
  check(0 <= id && id < next_tensor(), "source: there is no tensor " + std::to_string(id));
  return tensors_[static_cast<size_t>(id)];
}

void Layers::check_room(int shrink) const {
  check(!is_complete(), "network: it is complete");
  check(shrink <= kMostHalvings, "source: accepted is one of at most " +
                                     std::to_string(kMostHalvings) + " times halved sides");
}

int Layers::count(const Tensor& made, const std::vector<int>& sources) {
  tensors_.push_back(made);
  sources_.push_back(sources);
  return next_tensor() - 1;
}

int Layers::stem(const Kernel& kernel, const Rounding& rounding) {
  check_kernel(kernel, kernels::kImageChannels, rounding);
  check_width(kernel, unit_);
  check_room(1);
  add_stem(kernel, rounding);
  return count({kernel.outputs, 1, false}, {});
}

int Layers::convolution(const std::vector<int>& sources, const std::vector<Kernel>& kernels,
                        const Rounding& rounding) {
  check(!sources.empty() && sources.size() <= kMostSources && sources.size() == kernels.size(),
        "kernels: accepted is one for each source, of which there are one or two");
  const Tensor& first = tensor(sources[0]);
  for (size_t i = 0; i < sources.size(); ++i) {
    const Tensor& source = tensor(sources[i]);
    check_kernel(kernels[i], source.channels, rounding);
    check_width(kernels[i], unit_);
    check(source.channels == first.channels && source.shrink == first.shrink,
          "sources: accepted are tensors of one size");
  }
  check_room(first.shrink);
  add_convolution(sources, kernels, rounding);
  return count({kernels[0].outputs, first.shrink, false}, sources);
}

int Layers::grow(int source, const Kernel& kernel, const Rounding& rounding) {
  const Tensor& below = tensor(source);
  check_kernel(kernel, below.channels, rounding);
  check_width(kernel, unit_);
  check(!below.is_signed && below.shrink > 1, "source: accepted is a tensor that can grow");
  check_room(below.shrink - 1);
  add_grow(source, kernel, rounding);
  return count({kernel.outputs, below.shrink - 1, true}, {source});
}

int Layers::pool(int source) {
  const Tensor above = tensor(source);
  check_room(above.shrink + 1);
  add_pool(source);
  return count({above.channels, above.shrink + 1, above.is_signed}, {source});
}

void Layers::cells(int source, const Kernel& kernel, const Rounding& rounding) {
  check(!is_complete(), "network: it is complete");
  const Tensor& last = tensor(source);
  check_kernel(kernel, last.channels, rounding);
  check(kernel.outputs == kernels::kCellBytes && last.shrink == 1 && !last.is_signed,
        "kernel: accepted are 8 outputs of a tensor of half the image's sides");
  add_cells(source, kernel, rounding);
  sources_.push_back({source});
  is_complete_ = true;
}

Layers::Buffers Layers::share_memory(const std::vector<size_t>& sizes) const {
  Buffers found;
  std::vector<size_t> free;
  // Of free buffers that have to grow the least the smallest, or a new one.
  const auto take = [&](size_t size) {
    const auto cost = [&](size_t buffer) {
      return std::pair(size - std::min(size, found.sizes[buffer]), found.sizes[buffer]);
    };
    const auto best = std::min_element(free.begin(), free.end(),
                                       [&](size_t a, size_t b) { return cost(a) < cost(b); });
    if (best == free.end()) {
      found.sizes.push_back(size);
      return found.sizes.size() - 1;
    }
    const size_t buffer = *best;
    found.sizes[buffer] = std::max(found.sizes[buffer], size);
    free.erase(best);
    return buffer;
  };
  std::vector<size_t> last_reader(sizes.size(), sources_.size());
  for (size_t i = 0; i < sources_.size(); ++i) {
    for (const int source : sources_[i]) last_reader[static_cast<size_t>(source)] = i;
  }
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (i < sizes.size()) found.of_tensor.push_back(take(sizes[i]));
    for (size_t id = 0; id < sizes.size(); ++id) {
      if (last_reader[id] == i) free.push_back(found.of_tensor[id]);
    }
  }
  return found;
}

int64_t Layers::stride() const {
  int shrink = 2;  // the CPU's last layer takes two pixels of half the resolution at once
  for (const Tensor& one : tensors_) shrink = std::max(shrink, one.shrink);
  return int64_t{1} << shrink;
}

}  // namespace nucleiseg::network
