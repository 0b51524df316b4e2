// The way of one image: limits, normalise, tiles, network, maps, mask and labels, on any device.
//
// At another scale the network sees the image resized. Where it was shrunk its maps are enlarged
// again and decoded; where it was magnified they are decoded at their own size, on the host
// (csrc/pipeline/own_size.h).
//
// A device has `Steps`: what it does for one image, from their construction to finish(). On a GPU
// they are put into streams, so nothing is known of the image's values before finish() or known().
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "cpu/normalize/normalize.h"
#include "cpu/tiles/enlarge.h"
#include "pipeline/flow.h"
#include "pipeline/own_size.h"
#include "pipeline/settings.h"

namespace nucleiseg::pipeline {

using cpu::Limits;

// Calls may come from several threads at once.
template <class Device>
class Pipeline {
 public:
  Pipeline(std::shared_ptr<Device> device, const Settings& settings)
      : device_(std::move(device)), settings_(settings) {}

  Device& device() const { return *device_; }
  const Settings& settings() const { return settings_; }
  void set_whole(int64_t pixels) { settings_.whole = pixels; }

  // Writes what is wanted of an image that the network sees shrunk by `scale`, and returns the
  // limits: those given, of an image that this one is a part of, or its own.
  Limits run(const ImageView& image, double scale, const std::optional<Limits>& limits,
             const Outputs& outputs);

  // Writes `outputs.maps` as the network sees the image, (h, w, 2) with size_at(image, scale).
  Limits maps(const ImageView& image, double scale, const std::optional<Limits>& limits,
              const Outputs& outputs);

  Limits limits(const ImageView& image);

  // Writes what is wanted, of maps that the network made of an image of this size.
  void decode(const ImageView& maps, const Size& image, double scale, const Outputs& outputs);

 private:
  using Steps = typename Device::Steps;

  Outputs run_plain(Steps& steps, const std::optional<Limits>& limits,
                    const Outputs& outputs) const;
  Outputs make_plain(Steps& steps, const ImageView& picture, const Outputs& outputs) const;
  Outputs run_shrunk(Steps& steps, const Size& image, double scale, const Outputs& outputs) const;
  void run_magnified(Steps& steps, const Size& image, double scale, const Outputs& outputs) const;
  uint8_t* seen_maps(Steps& steps, const Size& seen, uint8_t* out) const;
  Outputs enlarge_and_decode(Steps& steps, const ImageView& maps, const Size& image, double scale,
                             const Outputs& outputs) const;
  Outputs decode_as_is(Steps& steps, const ImageView& maps, double scale,
                       const Outputs& outputs) const;
  void decode_into(Steps& steps, const ImageView& maps, double scale, const Outputs& places) const;

  const std::shared_ptr<Device> device_;
  Settings settings_;
};

template <class Device>
Limits Pipeline<Device>::run(const ImageView& image, double scale,
                             const std::optional<Limits>& limits, const Outputs& outputs) {
  const Size size = size_of(image);
  Steps steps(*device_, settings_, image);
  if (scale != 1) steps.learn_limits(limits);
  Outputs places;
  if (scale == 1) {
    places = run_plain(steps, limits, outputs);
  } else if (!steps.is_blank() && scale > 1) {
    places = run_shrunk(steps, size, scale, outputs);
  } else if (!steps.is_blank()) {
    run_magnified(steps, size, scale, outputs);
  }
  return steps.finish(places, outputs, size);
}

template <class Device>
Limits Pipeline<Device>::maps(const ImageView& image, double scale,
                              const std::optional<Limits>& limits, const Outputs& outputs) {
  const Size seen = size_at(size_of(image), scale);
  if (scale == 1) return run(image, 1, limits, outputs);
  Steps steps(*device_, settings_, image);
  steps.learn_limits(limits);
  Outputs places;
  if (!steps.is_blank()) places.maps = seen_maps(steps, seen, outputs.maps);
  return steps.finish(places, outputs, seen);
}

template <class Device>
Limits Pipeline<Device>::limits(const ImageView& image) {
  Steps steps(*device_, settings_, image);
  steps.learn_limits(std::nullopt);
  return steps.finish({}, {}, size_of(image));
}

template <class Device>
void Pipeline<Device>::decode(const ImageView& maps, const Size& image, double scale,
                              const Outputs& outputs) {
  Steps steps(*device_, settings_, maps);
  Outputs places;
  if (size_of(maps) == image) {
    const auto work = [&](const ImageView& view) {
      return decode_as_is(steps, view, scale, outputs);
    };
    places =
        steps.repeat({Task::kDecode, rule_at(settings_.rule, scale), outputs}, steps.image(), work);
  } else if (scale >= 1) {
    places = enlarge_and_decode(steps, steps.host_image(), image, scale, outputs);
  } else {
    [[maybe_unused]] const auto timer = steps.time_decoding();
    OwnSize own(steps.host_outputs(outputs, image), image, size_of(maps),
                rule_at(settings_.rule, 1), steps.threads());
    own.add_all(steps.host_image());
    own.finish();
  }
  steps.finish(places, outputs, image);
}

template <class Device>
Outputs Pipeline<Device>::run_plain(Steps& steps, const std::optional<Limits>& limits,
                                    const Outputs& outputs) const {
  if (limits) steps.learn_limits(limits);
  if (steps.is_blank()) return {};
  const auto work = [&](const ImageView& picture) {
    if (!limits) steps.find_limits(picture);
    return steps.is_blank() ? Outputs{} : make_plain(steps, picture, outputs);
  };
  const Task::Kind kind = limits ? Task::kRunWithLimits : Task::kRun;
  return steps.repeat({kind, rule_at(settings_.rule, 1), outputs}, steps.image(), work);
}

template <class Device>
Outputs Pipeline<Device>::make_plain(Steps& steps, const ImageView& picture,
                                     const Outputs& outputs) const {
  PlainSource source(picture);
  const Size size = source.size();
  const Outputs places = steps.places(outputs, size);
  if (outputs.is_mask_alone()) {
    make_mask(steps, source, settings_, places.mask);
    return places;
  }
  uint8_t* maps = places.maps;
  if (!maps) maps = steps.memory(Block::kMaps, size.pixels() * kernels::kMapChannels);
  make_maps(steps, source, settings_, maps);
  decode_into(steps, maps_view(maps, size), 1, places);
  return places;
}

template <class Device>
Outputs Pipeline<Device>::run_shrunk(Steps& steps, const Size& image, double scale,
                                     const Outputs& outputs) const {
  const Size seen = size_at(image, scale);
  const ImageView maps = maps_view(seen_maps(steps, seen, nullptr), seen);
  if (seen == image) return decode_as_is(steps, maps, scale, outputs);
  return enlarge_and_decode(steps, steps.on_host(maps), image, scale, outputs);
}

template <class Device>
void Pipeline<Device>::run_magnified(Steps& steps, const Size& image, double scale,
                                     const Outputs& outputs) const {
  const Size seen = size_at(image, scale);
  const bool is_large = seen.pixels() > settings_.whole;
  OwnSize own(steps.host_outputs(outputs, image), image, seen, rule_at(settings_.rule, 1),
              steps.threads());
  if (Steps::kIsGpu && !is_large) {  // which a graph does
    own.add_all(steps.on_host(maps_view(seen_maps(steps, seen, nullptr), seen)));
    return own.finish();
  }
  int64_t tall = settings_.tile;
  if (is_large) {
    tall = std::min(tall, band_rows(image, seen) / settings_.stride * settings_.stride);
  }
  ResizedSource<Steps> source(steps, steps.host_image(), seen);
  for (const Band& band : bands_of(settings_, seen, tall)) {
    const Size kept = {band.kept_end - band.kept_begin, seen.width};
    uint8_t* const rows = own.next_rows(kept.height);
    uint8_t* const maps = steps.band(rows, kept.pixels() * kernels::kMapChannels);
    add_band(steps, source, settings_, band, maps);
    steps.bring(maps, rows, kept.pixels() * kernels::kMapChannels);
    [[maybe_unused]] const auto timer = steps.time_decoding();
    own.add();
  }
  own.finish();
}

// The maps as the network sees the image, in `out` where the device can write there.
template <class Device>
uint8_t* Pipeline<Device>::seen_maps(Steps& steps, const Size& seen, uint8_t* out) const {
  const int64_t bytes = seen.pixels() * kernels::kMapChannels;
  ResizedSource<Steps> source(steps, steps.host_image(), seen);
  if (!Steps::kIsGpu || seen.pixels() > settings_.whole) {
    uint8_t* maps = Steps::kIsGpu || !out ? steps.memory(Block::kSeen, bytes) : out;
    make_maps(steps, source, settings_, maps);
    return maps;
  }
  const auto work = [&](const ImageView& picture) {
    PlainSource plain(picture);
    Outputs places;
    places.maps = steps.memory(Block::kSeen, bytes);
    make_maps(steps, plain, settings_, places.maps);
    return places;
  };
  const ImageView picture = source.part({0, seen.height, 0, seen.width});
  return steps.repeat({Task::kSeenMaps, settings_.rule, {}}, picture, work).maps;
}

// The maps are on the host.
template <class Device>
Outputs Pipeline<Device>::enlarge_and_decode(Steps& steps, const ImageView& maps, const Size& image,
                                             double scale, const Outputs& outputs) const {
  const int64_t bytes = image.pixels() * kernels::kMapChannels;
  uint8_t* whole =
      !Steps::kIsGpu && outputs.maps ? outputs.maps : steps.staging(Block::kMaps, bytes);
  {
    [[maybe_unused]] const auto timer = steps.time_decoding();
    cpu::enlarge_maps(maps, image.height, image.width, whole, steps.threads());
  }
  return decode_as_is(steps, steps.staged(Block::kMaps, maps_view(whole, image)), scale, outputs);
}

template <class Device>
Outputs Pipeline<Device>::decode_as_is(Steps& steps, const ImageView& maps, double scale,
                                       const Outputs& outputs) const {
  Outputs places = steps.places(outputs, size_of(maps));
  if (outputs.maps) places.maps = steps.as_output(maps, places.maps);
  decode_into(steps, maps, scale, places);
  return places;
}

template <class Device>
void Pipeline<Device>::decode_into(Steps& steps, const ImageView& maps, double scale,
                                   const Outputs& places) const {
  if (places.mask) steps.mask(maps, places.mask);
  if (places.labels) steps.label(maps, rule_at(settings_.rule, scale), places.labels);
}

}  // namespace nucleiseg::pipeline
