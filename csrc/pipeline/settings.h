// What a pipeline is told once, and what each call asks for.
#pragma once

#include <cstdint>

#include "kernels/label.h"

namespace nucleiseg::pipeline {

struct Settings {
  int64_t stride;               // sides of tiles are multiples of this
  int64_t halo;                 // margin of a tile that is thrown away, a multiple of the stride
  int64_t tile;                 // largest side of a tile, a multiple of the stride above 2 * halo
  int64_t batch;                // tiles in the network at once
  double low;                   // percentiles of a full field that become 0 and 255
  double high;                  //
  kernels::LabelRule rule;      // at scale 1
  int64_t whole = 3072 * 3072;  // pixels of maps of a magnified image that are made in one piece
};

// Areas grow with the square of how far the maps were magnified: the least area of a nucleus does,
// and what is merged is told by areas in the network's pixels.
kernels::LabelRule rule_at(const kernels::LabelRule& rule, double scale);

struct Size {
  int64_t height;
  int64_t width;

  int64_t pixels() const { return height * width; }
  bool operator==(const Size& other) const {
    return height == other.height && width == other.width;
  }
  bool operator!=(const Size& other) const { return !(*this == other); }
};

// Of an image that is shrunk by a factor: rounded halves to even, at least 1.
Size size_at(const Size& image, double scale);

// Where results go, dense and of the image's own size: null where one is not wanted.
struct Outputs {
  uint8_t* mask = nullptr;    // (H, W), 0 or 1
  int32_t* labels = nullptr;  // (H, W), comes filled with 0
  uint8_t* maps = nullptr;    // (H, W, 2)

  bool is_mask_alone() const { return mask && !labels && !maps; }
};

}  // namespace nucleiseg::pipeline
