#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <thread>

#include "nucleiseg/pipeline.h"
#include "pipeline/cpu_device.h"
#include "pipeline/packed.h"
#include "pipeline/pipeline.h"

namespace nucleiseg {
namespace {

constexpr int64_t kTile = 3072;
constexpr int kMostThreads = 1024;
constexpr double kSmallestScale = 0.25;
constexpr double kLargestScale = 32;
constexpr double kTolerance = 1.25;  // scales within this factor of 1 are taken as 1
constexpr int64_t kMostSide = int64_t{1} << 20;

template <class T>
ImageView view_of(const T* pixels, ValueType type, int64_t height, int64_t width,
                  int64_t channels) {
  const auto size = static_cast<std::ptrdiff_t>(sizeof(T));
  return {reinterpret_cast<const std::byte*>(pixels),
          type,
          height,
          width,
          channels,
          width * channels * size,
          channels * size,
          size};
}

void check_image(const ImageView& image, double scale) {
  if (!image.data || image.height < 1 || image.width < 1) {
    throw std::invalid_argument("image: it is empty; accepted is at least one pixel");
  }
  if (image.channels != 1 && image.channels != 3) {
    throw std::invalid_argument("image: got " + std::to_string(image.channels) +
                                " channels; accepted are 1 and 3");
  }
  if (!(scale >= kSmallestScale && scale <= kLargestScale)) {
    throw std::invalid_argument("scale: got " + std::to_string(scale) +
                                "; accepted are 0.25 to 32");
  }
  const pipeline::Size seen = pipeline::size_at({image.height, image.width}, scale);
  const int64_t height = std::max(image.height, seen.height);
  const int64_t width = std::max(image.width, seen.width);
  if (std::max(height, width) > kMostSide || height > INT32_MAX / width) {
    throw std::invalid_argument(
        "image: it is too large; accepted are sides of up to 2**20 and fewer than 2**31 pixels");
  }
}

}  // namespace

struct Pipeline::Parts {
  pipeline::CpuPipeline pipeline;
  double micrometres_a_pixel;
};

Pipeline::Pipeline(const std::string& model, const Options& options) {
  pipeline::PackedModel packed = pipeline::read_packed(model);
  pipeline::Settings& settings = packed.settings;
  int threads = options.threads;
  if (threads == 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (threads < 1 || threads > kMostThreads) {
    throw std::invalid_argument("threads: got " + std::to_string(threads) +
                                "; accepted are 1 to 1024, or 0 for all");
  }
  settings.tile = options.tile == 0 ? kTile : options.tile;
  settings.batch = 1;
  const int64_t smallest = 2 * settings.halo + settings.stride;
  if (settings.tile < smallest || settings.tile % settings.stride != 0) {
    throw std::invalid_argument("tile: got " + std::to_string(settings.tile) +
                                "; accepted are multiples of " + std::to_string(settings.stride) +
                                " from " + std::to_string(smallest) + " up");
  }
  const auto device = std::make_shared<pipeline::CpuDevice>(packed.network, threads);
  parts_ = std::make_unique<Parts>(
      Parts{pipeline::CpuPipeline(device, settings), packed.micrometres_a_pixel});
}

Pipeline::~Pipeline() = default;
Pipeline::Pipeline(Pipeline&&) noexcept = default;
Pipeline& Pipeline::operator=(Pipeline&&) noexcept = default;

Result Pipeline::segment(const ImageView& image, double scale) {
  check_image(image, scale);
  const auto pixels = static_cast<size_t>(image.height * image.width);
  Result found;
  found.mask.resize(pixels);
  found.labels.resize(pixels);
  parts_->pipeline.run(image, scale, std::nullopt,
                       {found.mask.data(), found.labels.data(), nullptr});
  found.count = *std::max_element(found.labels.begin(), found.labels.end());
  return found;
}

double Pipeline::scale_of(double micrometres_a_pixel) const {
  const double scale = parts_->micrometres_a_pixel / micrometres_a_pixel;
  if (!(scale >= kSmallestScale && scale <= kLargestScale)) {
    throw std::invalid_argument("micrometres_a_pixel: got " + std::to_string(micrometres_a_pixel) +
                                ", which needs a scale outside of 0.25 to 32");
  }
  return 1 / kTolerance < scale && scale < kTolerance ? 1.0 : scale;
}

ImageView view(const uint8_t* pixels, int64_t height, int64_t width, int64_t channels) {
  return view_of(pixels, ValueType::kUint8, height, width, channels);
}

ImageView view(const uint16_t* pixels, int64_t height, int64_t width, int64_t channels) {
  return view_of(pixels, ValueType::kUint16, height, width, channels);
}

ImageView view(const float* pixels, int64_t height, int64_t width, int64_t channels) {
  return view_of(pixels, ValueType::kFloat32, height, width, channels);
}

}  // namespace nucleiseg
