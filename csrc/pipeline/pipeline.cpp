#include "pipeline/pipeline.h"

#include <algorithm>
#include <cstring>

#include "cpu/tiles/enlarge.h"
#include "pipeline/own_size.h"

namespace nucleiseg::pipeline {
namespace {

Size size_of(const ImageView& image) { return {image.height, image.width}; }

// What a blank image has: the labels come so.
void clear(const Outputs& outputs, const Size& image) {
  const auto pixels = static_cast<size_t>(image.pixels());
  if (outputs.mask) std::memset(outputs.mask, 0, pixels);
  if (outputs.maps) std::memset(outputs.maps, 0, pixels * kernels::kMapChannels);
}

void copy_maps(const ImageView& maps, uint8_t* out) {
  const int64_t length = maps.values_per_row();
  std::vector<uint8_t> scratch;
  for (int64_t row = 0; row < maps.height; ++row) {
    std::memcpy(out + row * length, cpu::row_values<uint8_t>(maps, row, scratch),
                static_cast<size_t>(length));
  }
}

}  // namespace

CpuSteps Pipeline::steps(const cpu::Share& share) const {
  CpuSteps steps(*device_, share.threads());
  steps.use_threshold(settings_.rule.nucleus_threshold);
  return steps;
}

cpu::Limits Pipeline::run(const ImageView& image, double scale,
                          const std::optional<cpu::Limits>& limits, const Outputs& outputs) {
  const cpu::Share share(device_->shares());
  CpuSteps steps = this->steps(share);
  const cpu::Limits found = limits ? *limits : steps.limits(image, settings_.low, settings_.high);
  if (is_blank(found)) {
    clear(outputs, size_of(image));
    return found;
  }
  steps.set_limits(found);
  if (scale == 1) {
    run_plain(steps, image, outputs);
  } else if (scale > 1) {
    run_shrunk(steps, image, scale, outputs);
  } else {
    run_magnified(steps, image, scale, outputs);
  }
  return found;
}

cpu::Limits Pipeline::maps(const ImageView& image, double scale,
                           const std::optional<cpu::Limits>& limits, uint8_t* maps) {
  const cpu::Share share(device_->shares());
  CpuSteps steps = this->steps(share);
  const cpu::Limits found = limits ? *limits : steps.limits(image, settings_.low, settings_.high);
  const Size seen = size_at(size_of(image), scale);
  if (is_blank(found)) {
    std::memset(maps, 0, static_cast<size_t>(seen.pixels() * kernels::kMapChannels));
    return found;
  }
  steps.set_limits(found);
  if (scale == 1) {
    PlainSource source(image);
    make_maps(steps, source, settings_, maps);
  } else {
    ResizedSource source(steps, image, seen);
    make_maps(steps, source, settings_, maps);
  }
  return found;
}

void Pipeline::run_plain(CpuSteps& steps, const ImageView& image, const Outputs& outputs) const {
  PlainSource source(image);
  if (outputs.is_mask_alone()) return make_mask(steps, source, settings_, outputs.mask);
  const Size size = source.size();
  uint8_t* maps = outputs.maps;
  if (!maps) maps = steps.memory(Block::kMaps, size.pixels() * kernels::kMapChannels);
  make_maps(steps, source, settings_, maps);
  decode_as_is(steps, maps_view(maps, size), 1, {outputs.mask, outputs.labels, nullptr});
}

void Pipeline::run_shrunk(CpuSteps& steps, const ImageView& image, double scale,
                          const Outputs& outputs) const {
  const Size seen = size_at(size_of(image), scale);
  ResizedSource source(steps, image, seen);
  cpu::AlignedBytes maps(static_cast<size_t>(seen.pixels() * kernels::kMapChannels));
  make_maps(steps, source, settings_, maps.data());
  enlarge_and_decode(steps, maps_view(maps.data(), seen), size_of(image), scale, outputs);
}

void Pipeline::run_magnified(CpuSteps& steps, const ImageView& image, double scale,
                             const Outputs& outputs) const {
  const Size size = size_of(image);
  const Size seen = size_at(size, scale);
  ResizedSource source(steps, image, seen);
  OwnSize own(outputs, size, seen, rule_at(settings_.rule, 1), steps.threads());
  int64_t tall = settings_.tile;
  if (seen.pixels() > settings_.whole) {
    tall = std::min(tall, band_rows(size, seen) / settings_.stride * settings_.stride);
  }
  for (const Band& band : bands_of(settings_, seen, tall)) {
    add_band(steps, source, settings_, band, own.next_rows(band.kept_end - band.kept_begin));
    const Timer timer(device_->times(), Part::kDecode);
    own.add();
  }
  own.finish();
}

void Pipeline::decode(const ImageView& maps, const Size& image, double scale,
                      const Outputs& outputs) {
  const cpu::Share share(device_->shares());
  CpuSteps steps = this->steps(share);
  if (size_of(maps) == image) {
    decode_as_is(steps, maps, scale, outputs);
  } else if (scale >= 1) {
    enlarge_and_decode(steps, maps, image, scale, outputs);
  } else {
    const Timer timer(device_->times(), Part::kDecode);
    OwnSize own(outputs, image, size_of(maps), rule_at(settings_.rule, 1), share.threads());
    own.add_all(maps);
    own.finish();
  }
}

void Pipeline::enlarge_and_decode(CpuSteps& steps, const ImageView& maps, const Size& image,
                                  double scale, const Outputs& outputs) const {
  if (size_of(maps) == image) return decode_as_is(steps, maps, scale, outputs);
  uint8_t* enlarged = outputs.maps;
  if (!enlarged) enlarged = steps.memory(Block::kMaps, image.pixels() * kernels::kMapChannels);
  {
    const Timer timer(device_->times(), Part::kDecode);
    cpu::enlarge_maps(maps, image.height, image.width, enlarged, steps.threads());
  }
  decode_as_is(steps, maps_view(enlarged, image), scale, {outputs.mask, outputs.labels, nullptr});
}

void Pipeline::decode_as_is(CpuSteps& steps, const ImageView& maps, double scale,
                            const Outputs& outputs) const {
  if (outputs.maps) copy_maps(maps, outputs.maps);
  if (outputs.mask) steps.mask(maps, outputs.mask);
  if (outputs.labels) steps.label(maps, rule_at(settings_.rule, scale), outputs.labels);
}

}  // namespace nucleiseg::pipeline
