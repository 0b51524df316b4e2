// The way of one image on the processor: limits, normalise, tiles, network, maps, mask and labels.
//
// At another scale the network sees the image resized, row of tiles by row of tiles. Where it was
// shrunk its maps are enlarged again and decoded; where it was magnified they are decoded at their
// own size (csrc/pipeline/own_size.h).
#pragma once

#include <memory>
#include <optional>

#include "pipeline/cpu_device.h"
#include "pipeline/settings.h"

namespace nucleiseg::pipeline {

inline bool is_blank(const cpu::Limits& limits) { return limits.high <= limits.low; }

// Calls may come from several threads at once.
class Pipeline {
 public:
  Pipeline(std::shared_ptr<CpuDevice> device, const Settings& settings)
      : device_(std::move(device)), settings_(settings) {}

  const Settings& settings() const { return settings_; }
  void set_whole(int64_t pixels) { settings_.whole = pixels; }

  // Writes what is wanted of an image that the network sees shrunk by `scale`, and returns the
  // limits: those given, of an image that this one is a part of, or its own.
  cpu::Limits run(const ImageView& image, double scale, const std::optional<cpu::Limits>& limits,
                  const Outputs& outputs);

  // Writes the maps as the network sees the image, (h, w, 2) with size_at(image, scale).
  cpu::Limits maps(const ImageView& image, double scale, const std::optional<cpu::Limits>& limits,
                   uint8_t* maps);

  // Writes what is wanted, of maps that the network made of an image of this size.
  void decode(const ImageView& maps, const Size& image, double scale, const Outputs& outputs);

 private:
  void run_plain(CpuSteps& steps, const ImageView& image, const Outputs& outputs) const;
  void run_shrunk(CpuSteps& steps, const ImageView& image, double scale,
                  const Outputs& outputs) const;
  void run_magnified(CpuSteps& steps, const ImageView& image, double scale,
                     const Outputs& outputs) const;
  void enlarge_and_decode(CpuSteps& steps, const ImageView& maps, const Size& image, double scale,
                          const Outputs& outputs) const;
  void decode_as_is(CpuSteps& steps, const ImageView& maps, double scale,
                    const Outputs& outputs) const;
  CpuSteps steps(const cpu::Share& share) const;

  const std::shared_ptr<CpuDevice> device_;
  Settings settings_;
};

}  // namespace nucleiseg::pipeline
