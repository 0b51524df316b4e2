// From an image and its limits to maps, row of tiles by row of tiles, on any device.
//
// `Steps` is what a device does for one image: CpuSteps (csrc/pipeline/cpu_device.h) is the
// plainest, and csrc/pipeline/cuda_device.h has those of a GPU. A `Source` is the image as the
// network sees it, at its own size or resized: part() returns a rectangle of it in the device's
// memory, good until the next call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/tiles/resize.h"
#include "kernels/tiles.h"
#include "nucleiseg/image.h"
#include "pipeline/plan.h"
#include "pipeline/settings.h"

namespace nucleiseg::pipeline {

using kernels::Plane;

// Memory that a flow uses, each block under its name.
enum class Block { kPicture, kTiles, kCells, kResized, kBand, kSeen, kMaps, kCount };

// Work that is the same for all images of one shape, as the way of decoding is: a GPU's graph.
struct Task {
  enum Kind { kRun, kRunWithLimits, kSeenMaps, kDecode };

  Kind kind;
  kernels::LabelRule rule;
  Outputs outputs;  // which are wanted
};

inline ImageView maps_view(const uint8_t* maps, const Size& size) {
  return {reinterpret_cast<const std::byte*>(maps),
          ValueType::kUint8,
          size.height,
          size.width,
          kernels::kMapChannels,
          size.width * kernels::kMapChannels,
          kernels::kMapChannels,
          1};
}

inline Size size_of(const ImageView& image) { return {image.height, image.width}; }

inline int64_t value_bytes(ValueType type) {
  return with_value_type(type, [](auto zero) { return static_cast<int64_t>(sizeof zero); });
}

inline ImageView rectangle_of(const ImageView& image, const Rectangle& part) {
  ImageView view = image;
  view.data += part.row_begin * image.row_stride + part.column_begin * image.column_stride;
  view.height = part.row_end - part.row_begin;
  view.width = part.column_end - part.column_begin;
  return view;
}

// An image that the network sees as it is.
class PlainSource {
 public:
  explicit PlainSource(const ImageView& image) : image_(image) {}

  Size size() const { return {image_.height, image_.width}; }
  ImageView part(const Rectangle& part) const { return rectangle_of(image_, part); }

 private:
  const ImageView image_;
};

// An image on the host that the network sees at another size. The host resizes, for every device:
// its rules are part of the answer.
template <class Steps>
class ResizedSource {
 public:
  ResizedSource(Steps& steps, const ImageView& image, const Size& size)
      : steps_(steps), image_(image), size_(size) {}

  Size size() const { return size_; }
  ImageView part(const Rectangle& part) {
    ImageView view = image_;
    view.height = part.row_end - part.row_begin;
    view.width = part.column_end - part.column_begin;
    view.channel_stride = value_bytes(image_.type);
    view.column_stride = view.channel_stride * image_.channels;
    view.row_stride = view.column_stride * view.width;
    uint8_t* out = steps_.staging(Block::kResized, view.height * view.row_stride);
    cpu::resize(image_, size_.height, size_.width, part, out, steps_.threads());
    view.data = reinterpret_cast<const std::byte*>(out);
    return steps_.staged(Block::kResized, view);
  }

 private:
  Steps& steps_;
  const ImageView image_;
  const Size size_;
};

inline std::vector<Band> bands_of(const Settings& settings, const Size& size, int64_t tall) {
  return plan(size.height, size.width, settings.tile, tall, settings.halo, settings.stride);
}

// Writes what the tiles `first` to `last` of a band keep of their maps. Only what these see is
// resized and stretched at once, to save memory.
template <class Steps, class Source>
void add_tiles(Steps& steps, Source& source, const Band& band, size_t first, size_t last,
               const Plane<uint8_t>& maps) {
  const auto begin = static_cast<std::ptrdiff_t>(first);
  const auto end = static_cast<std::ptrdiff_t>(last);
  const int64_t left = band.sources[first].column;
  const int64_t right =
      std::min(band.sources[last - 1].column + band.tile_width, source.size().width);
  const ImageView seen = source.part({band.seen_begin, band.seen_end, left, right});

  std::vector<Point> origins(band.sources.begin() + begin, band.sources.begin() + end);
  for (Point& origin : origins) origin.column -= left;
  const auto count = static_cast<int64_t>(origins.size());
  const int64_t tile_pixels = band.tile_height * band.tile_width;
  uint8_t* picture =
      steps.memory(Block::kPicture, seen.height * seen.width * kernels::kImageChannels);
  steps.normalize(seen, picture);
  uint8_t* tiles = steps.memory(Block::kTiles, count * tile_pixels * kernels::kImageChannels);
  steps.gather({picture, seen.height, seen.width, seen.width * kernels::kImageChannels}, origins,
               band.tile_height, band.tile_width, tiles);
  uint8_t* cells = steps.memory(Block::kCells, count * tile_pixels * kernels::kMapChannels);
  steps.infer(tiles, count, band.tile_height, band.tile_width, cells);
  steps.assemble(cells, band.tile_height, band.tile_width,
                 {band.targets.begin() + begin, band.targets.begin() + end},
                 {band.cores.begin() + begin, band.cores.begin() + end}, maps);
}

// Writes the maps of the rows that a band keeps to `maps`, which begins with the first of them.
template <class Steps, class Source>
void add_band(Steps& steps, Source& source, const Settings& settings, const Band& band,
              uint8_t* maps) {
  const int64_t width = source.size().width;
  const Plane<uint8_t> rows = {maps, band.kept_end - band.kept_begin, width,
                               width * kernels::kMapChannels};
  const size_t tiles = band.sources.size();
  const auto batch = static_cast<size_t>(settings.batch);
  for (size_t first = 0; first < tiles; first += batch) {
    add_tiles(steps, source, band, first, std::min(first + batch, tiles), rows);
  }
}

// Writes the maps of the whole, (H, W, 2).
template <class Steps, class Source>
void make_maps(Steps& steps, Source& source, const Settings& settings, uint8_t* maps) {
  const Size size = source.size();
  for (const Band& band : bands_of(settings, size, settings.tile)) {
    add_band(steps, source, settings, band,
             maps + band.kept_begin * size.width * kernels::kMapChannels);
  }
}

// Writes the mask, (H, W), without maps of the whole.
template <class Steps, class Source>
void make_mask(Steps& steps, Source& source, const Settings& settings, uint8_t* mask) {
  const Size size = source.size();
  for (const Band& band : bands_of(settings, size, settings.tile)) {
    const Size kept = {band.kept_end - band.kept_begin, size.width};
    uint8_t* maps = steps.memory(Block::kBand, kept.pixels() * kernels::kMapChannels);
    add_band(steps, source, settings, band, maps);
    steps.mask(maps_view(maps, kept), mask + band.kept_begin * size.width);
  }
}

}  // namespace nucleiseg::pipeline
