// The layers of the integer network as they are added, on every processor: how their tensors follow
// from each other, and what is refused, in the same words (std::invalid_argument).
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace nucleiseg::network {

constexpr int kSide = 3;    // of a convolution's kernel
constexpr int kGrowth = 2;  // of a transposed one's
constexpr int kMostChannels = 1024;
constexpr size_t kMostSources = 2;

// How a layer's sums become levels, for each output channel.
struct Rounding {
  std::vector<float> factors;
  std::vector<float> offsets;
};

// Weights as ONNX has them: (out, in, side, side) of a convolution, (in, out, 2, 2) of a transposed
// one.
struct Kernel {
  const int8_t* weights;
  int64_t inputs;
  int64_t outputs;
  int side = kSide;
};

inline void check(bool good, const std::string& message) {
  if (!good) throw std::invalid_argument(message);
}

// Each layer returns the number of its tensor, by which later ones name it.
class Layers {
 public:
  Layers(const Layers&) = delete;
  Layers& operator=(const Layers&) = delete;
  virtual ~Layers() = default;

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

  bool is_complete() const { return is_complete_; }
  // Sides must be multiples of this many pixels.
  int64_t stride() const;

 protected:
  struct Tensor {
    int64_t channels;
    int shrink;  // its sides are the image's, halved so many times
    bool is_signed;
  };

  // Memory that tensors share, and which of it each is in.
  struct Buffers {
    std::vector<size_t> sizes;
    std::vector<size_t> of_tensor;
  };

  // `unit` is what the processor takes channels by.
  explicit Layers(int unit) : unit_(unit) {}

  const std::vector<Tensor>& tensors() const { return tensors_; }
  const Tensor& tensor(int id) const;
  // Of the layer that is being added.
  int next_tensor() const { return static_cast<int>(tensors_.size()); }
  // For tensors of these sizes: greedily, in the order in which they are made and last read.
  Buffers share_memory(const std::vector<size_t>& sizes) const;

 private:
  // Lay out a layer that was checked, before its tensor is counted.
  virtual void add_stem(const Kernel& kernel, const Rounding& rounding) = 0;
  virtual void add_convolution(const std::vector<int>& sources, const std::vector<Kernel>& kernels,
                               const Rounding& rounding) = 0;
  virtual void add_grow(int source, const Kernel& kernel, const Rounding& rounding) = 0;
  virtual void add_pool(int source) = 0;
  virtual void add_cells(int source, const Kernel& kernel, const Rounding& rounding) = 0;

  void check_room(int shrink) const;
  int count(const Tensor& made, const std::vector<int>& sources);

  const int unit_;
  bool is_complete_ = false;
  std::vector<Tensor> tensors_;
  std::vector<std::vector<int>> sources_;  // of each layer; but for the last it makes a tensor
};

}  // namespace nucleiseg::network
