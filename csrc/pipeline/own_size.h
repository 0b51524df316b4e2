// Results at an image's own size, of maps that the network made of the image magnified.
//
// Small nuclei that touch would run into one if their maps were shrunk. So maps are decoded at
// their own size, and mask and labels take the pixels in which the centres of the image's lie. Maps
// come band by band: those of an image magnified four times have 16 times its pixels.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/label/label_bands.h"
#include "pipeline/settings.h"

namespace nucleiseg::pipeline {

class OwnSize {
 public:
  // `image` is the size of the results, `seen` that of the maps, neither side below the image's.
  OwnSize(const Outputs& outputs, const Size& image, const Size& seen,
          const kernels::LabelRule& rule, int threads);

  // Memory for the next `rows` rows of the maps, to be written before add().
  uint8_t* next_rows(int64_t rows);
  // Takes the rows that next_rows() gave memory for.
  void add();
  // Takes all rows at once, in place of the above.
  void add_all(const ImageView& maps);
  // Completes the results, once all rows were taken.
  void finish();

 private:
  // Rows from `first_` to `end` are there, `maps` being a view of the whole.
  void take(const ImageView& maps, int64_t end);

  const Outputs outputs_;
  const Size image_;
  const Size seen_;
  const uint8_t nucleus_threshold_;
  const int threads_;
  std::vector<int64_t> rows_;  // of the maps, one for each of the image's
  std::vector<int64_t> columns_;
  std::optional<cpu::LabelBands> bands_;
  std::vector<uint8_t> buffer_;  // the last rows that were taken, and the next ones
  int64_t first_ = 0;            // row of the maps that the buffer begins with
  int64_t end_ = 0;              // and the one that it ends before
  int64_t mask_done_ = 0;        // rows of the results
  int64_t maps_done_ = 0;
};

// Rows of maps that a band may have, so that it takes no more memory than other arrays of the
// image.
int64_t band_rows(const Size& image, const Size& seen);

}  // namespace nucleiseg::pipeline
