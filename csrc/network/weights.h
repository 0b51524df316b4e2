// What a layer of the integer network is made of, on every processor.
#pragma once

#include <cstdint>
#include <vector>

namespace nucleiseg::network {

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
  int side = 3;
};

}  // namespace nucleiseg::network
