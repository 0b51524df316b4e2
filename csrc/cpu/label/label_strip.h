// The first of the steps in csrc/cpu/label/label.cpp: the pieces and basins of a strip, and the
// passes between them, as far as they can be known without the other strips.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/image.h"
#include "cpu/label/basins.h"
#include "cpu/label/fill.h"
#include "cpu/label/heights.h"
#include "kernels/label.h"

namespace nucleiseg::cpu {

// Does one strip after the other, in memory that is its own.
class StripScan {
 public:
  StripScan(const ImageView& maps, const kernels::LabelRule& rule);

  void run(Strip& strip);

 private:
  static constexpr int64_t kMargin = Heights::kMargin;
  static constexpr size_t kRecent = 1024;

  struct Part : Piece {
    int32_t parent;  // the piece that its highest pixel climbs to, or one further on
    int32_t outlet;  // that pixel, where its piece is not known: then it is its own parent
    int32_t top;     // how high its highest pixel is, in sixteenths
  };
  // Of 64 columns: which are the last of their pieces, and how many pieces there were before.
  struct Ends {
    uint64_t columns;
    int32_t before;
  };
  struct OpenPiece {
    int64_t begin = kNowhere;
    int64_t highest = kNowhere;
  };

  // Rows are counted from the strip's first.
  const int16_t* heights(int64_t row) const { return heights_.row(begin_ + row); }
  // Those of row -1 and of the row after the last are 0, as if there were background.
  uint8_t* codes(int64_t row) { return codes_.data() + (row + 1) * pitch_ + kMargin; }
  uint8_t* links(int64_t row) { return links_.data() + (row + 1) * pitch_ + kMargin; }
  // The piece of each nucleus pixel, of the last two rows that were cut.
  int32_t* owners(int64_t row) { return owners_.data() + (row & 1) * (width_ + kFillSlack); }
  int32_t first_pixel(int64_t row) const { return static_cast<int32_t>((begin_ + row) * width_); }
  Part& part(int32_t piece) { return parts_[static_cast<size_t>(piece)]; }
  const Part& part(int32_t piece) const { return parts_[static_cast<size_t>(piece)]; }
  // Pieces are made from the last row to the first: those of a row are from pieces_begin on.
  int32_t pieces_begin(int64_t row) const {
    return row_begin_[static_cast<size_t>(rows_ - 1 - row)];
  }
  int32_t pieces_end(int64_t row) const { return row_begin_[static_cast<size_t>(rows_ - row)]; }

  void start(const Strip& strip);
  void link_downwards();
  void cut(int64_t row);
  void cut_block(int64_t row, int64_t first, uint64_t nucleus, uint64_t last, uint64_t tops,
                 OpenPiece& open);
  void add_piece(int64_t row, const OpenPiece& piece, int64_t last);
  void follow_upwards(int64_t row);
  int32_t find(int32_t piece);
  void name_basins(Strip& strip);
  void sum_moments(Strip& strip) const;
  void sum_probabilities(Strip& strip) const;
  Pass& recall(int32_t from, int32_t to, Strip& strip);
  void find_passes(Strip& strip);
  int32_t first_from(int64_t row, int64_t column) const;
  template <class Function>
  void each_touching(int64_t row, int64_t other_row, int32_t shift, Function&& fn) const;
  bool may_join(const Part& a, const Part& b, int32_t height, const Strip& strip) const;
  template <class Key>
  void look(const Part& from, const Part& to, Strip& strip, Key&& key_of);
  void look_beside(int64_t row, int32_t left, int32_t right, Strip& strip);
  void look_below(int64_t row, int32_t upper, int32_t lower, Strip& strip);
  void keep_outer_rows(Strip& strip) const;

  const int64_t width_;
  const int64_t pitch_;
  const int64_t blocks_;  // of 64 columns, in a row
  const kernels::LabelRule rule_;
  const ImageView& maps_;
  Heights heights_;
  int64_t begin_ = 0;
  int64_t rows_ = 0;
  std::vector<uint8_t> codes_;
  std::vector<uint8_t> links_;
  std::vector<uint8_t> scratch_;
  std::vector<int32_t> owners_;
  std::vector<Ends> ends_;
  std::vector<Part> parts_;  // the pieces
  std::vector<int32_t> row_begin_;
  std::vector<int32_t> names_;
  std::vector<int32_t> near_peak_;  // pieces from which a pass may lead on, row by row
  std::vector<size_t> near_begin_;  // the first of them of each row
  size_t recent_[kRecent] = {};     // the last passes of pairs of basins
  // Of each code: from a pixel to the one that it climbs to.
  int32_t step_[kernels::kPeak + 1] = {};
  int32_t column_step_[kernels::kPeak + 1] = {};
};

// Does the strips from `first` on in parallel.
void scan_strips(const ImageView& maps, const kernels::LabelRule& rule, std::vector<Strip>& strips,
                 size_t first, int threads);

}  // namespace nucleiseg::cpu
