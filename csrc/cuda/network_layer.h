// A layer of the integer network on a GPU, and how its weights are laid out.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/memory.h"
#include "cuda/network.h"
#include "cuda/network_work.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

// Constants in the device's memory.
class Constants {
 public:
  Constants() = default;
  template <class T>
  explicit Constants(const std::vector<T>& values)
      : Constants(values.data(), values.size() * sizeof(T)) {}
  Constants(const void* values, size_t bytes);

  template <class T>
  const T* as() const {
    return static_cast<const T*>(memory_->data());
  }

 private:
  std::shared_ptr<DeviceMemory> memory_;
};

struct Network::Layer {
  Layer(Kind what, std::vector<int> from, const Rounding& rounding)
      : kind(what),
        sources(std::move(from)),
        factors(rounding.factors),
        offsets(rounding.offsets) {}

  Kind kind;
  std::vector<int> sources;
  int target = -1;
  std::string words;
  int side = 0;      // of the image's kernel
  Form form = {};    // of a convolution
  int out_rows = 1;  // that a row becomes
  int32_t columns = 0;
  int32_t low = 0;
  int32_t high = 127;
  Constants weights;
  Constants begin;
  Constants factors;
  Constants offsets;
  Constants probabilities;

  Levels levels() const {
    return {factors.as<float>(), offsets.as<float>(), low, high,
            kind == Kind::cells ? probabilities.as<uint8_t>() : nullptr};
  }
};

// A convolution's weight.
inline int8_t weight_of(const Kernel& kernel, int64_t output, int64_t input, int tap) {
  return kernel.weights[(output * kernel.inputs + input) * kernel.side * kernel.side + tap];
}

// What a tap's channel is multiplied with for an output column of a source's convolution.
using Weight = std::function<int8_t(int source, int tap, int64_t channel, int64_t output)>;

// The weights of `outputs` columns in the order of `Convolution::weights`: that in which threads
// hold the sums, so that each thread has neighbours.
std::vector<int8_t> packed(const Form& form, int sources, int64_t channels, int64_t outputs,
                           const Weight& weight);

// The weights of the image's convolution in the order of `Stem::weights`.
std::vector<int8_t> packed_stem(const Kernel& kernel);

}  // namespace nucleiseg::NUCLEISEG_DEVICE
