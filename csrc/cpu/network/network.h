// The network in eight bits: layers one after the other on tensors of bytes.
//
// A tensor is (height, width, channels) with a border of one pixel that stands for zero, so that no
// convolution asks where the image ends. Levels of a signed tensor are stored with 128 added. Rows
// are shared out among threads, layer by layer; sums are integers, so neither the number of threads
// nor the instruction set shows in the bytes (csrc/kernels/network.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cpu/simd/convolve.h"
#include "network/layers.h"
#include "threads/process.h"

namespace nucleiseg::cpu {

using network::Kernel;
using network::Rounding;

class Network : public network::Layers {
 public:
  // `level` names one of convolutions(); the best when empty.
  explicit Network(const std::string& level = "");
  ~Network() override;

  const char* level() const { return convolution_->level; }

  // (count, height, width, 3) -> (count, height / 2, width / 2, 8), both row after row. It may be
  // called from several threads at once.
  void run(const uint8_t* tiles, int64_t count, int64_t height, int64_t width, uint8_t* cells,
           int threads) const;

 private:
  struct Layer;
  struct Workspace;
  class Pass;
  struct Idle {
    std::mutex lock;
    std::vector<std::unique_ptr<Workspace>> spaces;
  };

  void add_stem(const Kernel& kernel, const Rounding& rounding) override;
  void add_convolution(const std::vector<int>& sources, const std::vector<Kernel>& kernels,
                       const Rounding& rounding) override;
  void add_grow(int source, const Kernel& kernel, const Rounding& rounding) override;
  void add_pool(int source) override;
  void add_cells(int source, const Kernel& kernel, const Rounding& rounding) override;
  std::unique_ptr<Workspace> workspace(int64_t height, int64_t width) const;

  const Convolution* convolution_;
  std::vector<Layer> layers_;
  PerProcess<Idle> idle_;
};

}  // namespace nucleiseg::cpu
