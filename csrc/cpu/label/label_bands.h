// Nuclei of maps that come band by band, of which only some pixels are kept: those of an image that
// the network saw magnified. See csrc/cpu/label/label.cpp, whose labels these are.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/image.h"
#include "cpu/label/basins.h"
#include "kernels/label.h"

namespace nucleiseg::cpu {

class LabelBands {
 public:
  // Rows beyond a band's own that its nuclei depend on: the smoothing of the next row's.
  static constexpr int64_t kMargin = kernels::kSmoothed + 1;

  // `rows` and `columns`, both in ascending order, are the maps' that are kept. `labels`, one for
  // each of them, comes filled with 0.
  LabelBands(int64_t width, const kernels::LabelRule& rule, std::vector<int64_t> rows,
             const std::vector<int64_t>& columns, int32_t* labels);

  // The row that the next band begins with.
  int64_t next() const { return next_; }

  // Takes the rows from next() to `end`. The maps are the whole's, of which only these and kMargin
  // more on either side are read.
  void add(const ImageView& maps, int64_t end, int threads);

  // After the last row: gives the nuclei their numbers, of which those of some may not be there.
  void finish(int threads);

 private:
  void paint(const Strip& strip, int32_t basins_before);

  const int64_t width_;
  const kernels::LabelRule rule_;
  const std::vector<int64_t> rows_;
  const int64_t kept_width_;
  std::vector<int32_t> kept_from_;  // of each column: the first that is kept from there on
  int32_t* labels_;
  std::vector<Strip> strips_;
  int64_t next_ = 0;
  int32_t basins_ = 0;
};

}  // namespace nucleiseg::cpu
