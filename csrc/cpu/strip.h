// A strip of rows of the image, and what is known of its nuclei while they are labelled.
#pragma once

#include <cstdint>
#include <vector>

namespace nucleiseg::cpu {

struct Run {
  int32_t start;
  int32_t length;
};

constexpr int32_t kCoreless = -1;

// A run of pixels that reach the same pixel: one of the strip's own or the first outside of it,
// then the root of their core or kCoreless, then their nucleus's number.
struct Piece {
  int32_t start;
  int32_t length;
  int32_t nucleus;
};

struct Link {
  int32_t from;
  int32_t to;
};

struct Strip {
  int64_t row_begin;
  int64_t row_end;
  std::vector<Piece> pieces;
  std::vector<Link> seam;      // unions with the strip above
  std::vector<int32_t> zones;  // pixels without a higher neighbour that may be their zone's root
  std::vector<Link> exits;     // from a plateau pixel to a climbing neighbour of its height
};

}  // namespace nucleiseg::cpu
