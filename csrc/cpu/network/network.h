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
#include "network/weights.h"
#include "threads/process.h"

namespace nucleiseg::cpu {

using network::Kernel;
using network::Rounding;

class Network {
 public:
  // `level` names one of convolutions(); the best when empty.
  explicit Network(const std::string& level = "");
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // The image's first layer at stride 2; then ReLU. 3 x 3 is padded at the end alone, 6 x 6 by two
  // pixels on each side.
  int stem(const Kernel& kernel, const Rounding& rounding);
  // The sum of 3 x 3 convolutions, one of each source, with padding; then ReLU.
  int convolution(const std::vector<int>& sources, const std::vector<Kernel>& kernels,
                  const Rounding& rounding);
  // 2 x 2 at stride 2, transposed; its tensor is signed.
  int grow(int source, const Kernel& kernel, const Rounding& rounding);
  // The largest of 2 x 2.
  int pool(int source);
  // The last layer, 3 x 3, of logits, and what they stand for in 0..255.
  void cells(int source, const Kernel& kernel, const Rounding& rounding);

  bool is_complete() const;
  // Sides must be multiples of this many pixels.
  int64_t stride() const;
  const char* level() const { return convolution_->level; }

  // (count, height, width, 3) -> (count, height / 2, width / 2, 8), both row after row. It may be
  // called from several threads at once.
  void run(const uint8_t* tiles, int64_t count, int64_t height, int64_t width, uint8_t* cells,
           int threads) const;

 private:
  struct Tensor;
  struct Layer;
  struct Workspace;
  class Pass;
  struct Idle {
    std::mutex lock;
    std::vector<std::unique_ptr<Workspace>> spaces;
  };

  const Tensor& tensor(int id) const;
  int add(std::unique_ptr<Layer> layer, int64_t channels, int shrink, bool is_signed);
  std::unique_ptr<Workspace> workspace(int64_t height, int64_t width) const;

  const Convolution* convolution_;
  std::vector<Tensor> tensors_;
  std::vector<std::unique_ptr<Layer>> layers_;
  PerProcess<Idle> idle_;
};

}  // namespace nucleiseg::cpu
