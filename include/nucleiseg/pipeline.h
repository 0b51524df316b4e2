// Nuclei of an image in C++: the way from pixels to mask and labels in one call.
//
//   nucleiseg::Pipeline pipeline("nuclei-fast.nuc");
//   nucleiseg::Result found = pipeline.segment(nucleiseg::view(bytes, height, width, 3));
//   // found.count nuclei; found.labels[row * width + column] is a pixel's, 0 background
//
// The model is packed from an ONNX file once: python -m nucleiseg.engines.packed nuclei-fast.
// The labels are those that the Python package gives, bit for bit. All that goes wrong is a
// std::exception: std::invalid_argument for what was given, std::runtime_error for a file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nucleiseg/image.h"

namespace nucleiseg {

struct Options {
  int threads = 0;   // all processors when 0
  int64_t tile = 0;  // largest side of a tile in pixels, a multiple of the model's stride; 0: 3072
};

struct Result {
  std::vector<uint8_t> mask;    // (height, width), 1 where nucleus, row after row
  std::vector<int32_t> labels;  // (height, width), 0 background, 1..count a nucleus each
  int32_t count = 0;
};

class Pipeline {
 public:
  explicit Pipeline(const std::string& model, const Options& options = {});
  ~Pipeline();
  Pipeline(Pipeline&&) noexcept;
  Pipeline& operator=(Pipeline&&) noexcept;

  // The image is grey or RGB. Intensities are stretched, so their scale does not matter. `scale` is
  // how many times larger nuclei are in pixels than the model is best at: see scale_of(). Calls may
  // come from several threads at once; those share the processors.
  Result segment(const ImageView& image, double scale = 1.0);

  // The scale for so many micrometres a pixel.
  double scale_of(double micrometres_a_pixel) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// A view of pixels side by side, row after row, of (height, width, channels); 1 or 3 channels.
ImageView view(const uint8_t* pixels, int64_t height, int64_t width, int64_t channels);
ImageView view(const uint16_t* pixels, int64_t height, int64_t width, int64_t channels);
ImageView view(const float* pixels, int64_t height, int64_t width, int64_t channels);

}  // namespace nucleiseg
