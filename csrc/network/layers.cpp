#include "network/layers.h"

#include <algorithm>
#include <string>

#include "kernels/tiles.h"
#include "network/checks.h"

namespace nucleiseg::network {

const Layers::Tensor& Layers::tensor(int id) const {
  check(0 <= id && id < next_tensor(), "source: there is no tensor " + std::to_string(id));
  return tensors_[static_cast<size_t>(id)];
}

void Layers::check_room(int shrink) const {
  check(!is_complete(), "network: it is complete");
  check(shrink <= kMostHalvings, "source: accepted is one of at most " +
                                     std::to_string(kMostHalvings) + " times halved sides");
}

int Layers::count(const Tensor& made) {
  tensors_.push_back(made);
  return next_tensor() - 1;
}

int Layers::stem(const Kernel& kernel, const Rounding& rounding) {
  check_kernel(kernel, kernels::kImageChannels, rounding);
  check_width(kernel, unit_);
  check_room(1);
  add_stem(kernel, rounding);
  return count({kernel.outputs, 1, false});
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
  return count({kernels[0].outputs, first.shrink, false});
}

int Layers::grow(int source, const Kernel& kernel, const Rounding& rounding) {
  const Tensor& below = tensor(source);
  check_kernel(kernel, below.channels, rounding);
  check_width(kernel, unit_);
  check(!below.is_signed && below.shrink > 1, "source: accepted is a tensor that can grow");
  check_room(below.shrink - 1);
  add_grow(source, kernel, rounding);
  return count({kernel.outputs, below.shrink - 1, true});
}

int Layers::pool(int source) {
  const Tensor above = tensor(source);
  check_room(above.shrink + 1);
  add_pool(source);
  return count({above.channels, above.shrink + 1, above.is_signed});
}

void Layers::cells(int source, const Kernel& kernel, const Rounding& rounding) {
  check(!is_complete(), "network: it is complete");
  const Tensor& last = tensor(source);
  check_kernel(kernel, last.channels, rounding);
  check(kernel.outputs == kernels::kCellBytes && last.shrink == 1 && !last.is_signed,
        "kernel: accepted are 8 outputs of a tensor of half the image's sides");
  add_cells(source, kernel, rounding);
  is_complete_ = true;
}

int64_t Layers::stride() const {
  int shrink = 2;  // the CPU's last layer takes two pixels of half the resolution at once
  for (const Tensor& one : tensors_) shrink = std::max(shrink, one.shrink);
  return int64_t{1} << shrink;
}

}  // namespace nucleiseg::network
