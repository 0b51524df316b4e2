// The network in eight bits on a GPU: the layers of cpu/network.h, and the same bytes.
//
// Tensors are (count, height, width, channels) bytes with signs, without borders, in a workspace
// that the caller gives. All layers of a batch of tiles are launched into one stream, and nothing
// waits: the launches can be captured into a graph.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/check.h"
#include "network/layers.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

using network::Kernel;
using network::Rounding;

enum class Kind { stem, convolution, grow, pool, cells };

class Network : public network::Layers {
 public:
  // Its weights are in the memory of the current device.
  Network();
  ~Network() override;

  // What each layer does, for tables of times.
  std::vector<std::string> layers() const;

  // Bytes that a run needs, at a multiple of 256.
  size_t workspace(int64_t count, int64_t height, int64_t width) const;

  // (count, height, width, 3) -> (count, height / 2, width / 2, 8), both without gaps and at
  // multiples of 16 bytes. With `only`, that layer alone, on what an earlier run has left.
  void run(const uint8_t* tiles, int64_t count, int64_t height, int64_t width, uint8_t* cells,
           void* workspace, cudaStream_t stream, int only = -1) const;

 private:
  struct Layer;
  struct Plan;
  struct Batch;

  Layer convolution_layer(Kind kind, const std::vector<int>& sources,
                          const std::vector<Kernel>& kernels, const Rounding& rounding,
                          const char* words) const;
  void add_stem(const Kernel& kernel, const Rounding& rounding) override;
  void add_convolution(const std::vector<int>& sources, const std::vector<Kernel>& kernels,
                       const Rounding& rounding) override;
  void add_grow(int source, const Kernel& kernel, const Rounding& rounding) override;
  void add_pool(int source) override;
  void add_cells(int source, const Kernel& kernel, const Rounding& rounding) override;
  Plan plan(int64_t count, int64_t height, int64_t width) const;
  void launch(const Layer& layer, const Batch& batch) const;
  void launch_convolution(const Layer& layer, const Batch& batch) const;

  const int64_t enough_blocks_;
  std::vector<Layer> layers_;
};

}  // namespace nucleiseg::NUCLEISEG_DEVICE
