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
// then the root of their core or kCoreless, then their nucleus's root, then its number.
struct Piece {
  int32_t start;
  int32_t length;
  int32_t nucleus;
  uint8_t peak = 255;  // of a coreless piece the highest distance
};

struct Link {
  int32_t from;
  int32_t to;
};

// A core, or a run of its pixels; `root` may be any pixel of it until all unions are done.
struct Core {
  int32_t root;
  int32_t area;
};

struct Strip {
  int64_t row_begin;
  int64_t row_end;
  std::vector<Piece> pieces;
  std::vector<Link> seam;      // unions with the strip above
  std::vector<int32_t> zones;  // pixels without a higher neighbour that may be their zone's root
  std::vector<Link> exits;     // from a plateau pixel to a climbing neighbour of its height
  std::vector<Core> cores;     // run by run
  std::vector<Link> gates;     // from a coreless piece to the nucleus pixel that it would join
};

}  // namespace nucleiseg::cpu
