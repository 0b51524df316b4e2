#include "cpu/label_resolve.h"

#include <algorithm>

namespace nucleiseg::cpu {
namespace {

// The root of the core that the pixel reaches, or kCoreless. Each cell is read once: its owner may
// be marking it coreless.
int32_t reach_core(int32_t pixel, Forest forest) {
  while (true) {
    const int32_t target = forest.target(pixel);
    if (target < 0) return kCoreless;
    if (target == pixel) return pixel;
    pixel = target;
  }
}

void make_coreless(const Piece& piece, Forest forest) {
  for (int32_t i = 0; i < piece.length; ++i) forest.coreless().point(piece.start + i, piece.start);
}

// Does a piece go on where the one before it in the same row ends?
bool continues(const Piece& before, const Piece& piece, int32_t width) {
  return before.nucleus == piece.nucleus && before.start + before.length == piece.start &&
         piece.start % width != 0;
}

// Joins a coreless piece with those that touch it in the row above.
void join_coreless_above(const Piece& piece, int32_t width, Forest forest) {
  const int32_t column = piece.start % width;
  const int32_t row_above = piece.start - column - width;
  if (row_above < 0) return;
  const int32_t last = std::min(column + piece.length, width - 1);
  for (int32_t other = std::max(column - 1, 0); other <= last; ++other) {
    if (forest.is_coreless(row_above + other)) {
      forest.coreless().unite(piece.start, row_above + other);
    }
  }
}

}  // namespace

void close_zones(const std::vector<Strip>& strips, Forest forest) {
  for (const Strip& strip : strips) {
    for (const Link& link : strip.seam) forest.unite(link.from, link.to);
  }
  // All roots first: an exit that is set would be followed by the next search.
  std::vector<Link> exits;
  for (const Strip& strip : strips) {
    for (const Link& exit : strip.exits) exits.push_back({forest.find(exit.from), exit.to});
  }
  for (const Link& exit : exits) {
    const int32_t target = forest.target(exit.from);
    if (target == exit.from || exit.to < target) forest.point(exit.from, exit.to);
  }
  for (const Strip& strip : strips) {
    for (const int32_t pixel : strip.zones) {
      if (forest.target(pixel) == pixel) forest.coreless().point(pixel, pixel);
    }
  }
}

void resolve_strip(int32_t width, Forest forest, Strip& strip) {
  const int64_t second_row = (strip.row_begin + 1) * width;
  const auto finish = [&](const Piece& piece) {
    if (piece.nucleus != kCoreless) return;
    make_coreless(piece, forest);
    if (piece.start >= second_row) join_coreless_above(piece, width, forest);
  };
  size_t last = 0;  // pieces up to here are merged
  std::vector<Piece>& pieces = strip.pieces;
  for (size_t i = 0; i < pieces.size(); ++i) {
    Piece piece = pieces[i];
    piece.nucleus = reach_core(piece.nucleus, forest);
    if (i > 0 && continues(pieces[last], piece, width)) {
      pieces[last].length += piece.length;
      continue;
    }
    if (i > 0) finish(pieces[last++]);
    pieces[last] = piece;
  }
  if (pieces.empty()) return;
  finish(pieces[last]);
  pieces.resize(last + 1);
}

void close_coreless(std::vector<Strip>& strips, int32_t width, Forest forest) {
  for (const Strip& strip : strips) {
    const int64_t end = (strip.row_begin + 1) * width;
    for (const Piece& piece : strip.pieces) {
      if (piece.start >= end) break;
      if (piece.nucleus == kCoreless) join_coreless_above(piece, width, forest);
    }
  }
  std::vector<int32_t> roots;
  for (Strip& strip : strips) {
    for (Piece& piece : strip.pieces) {
      if (piece.nucleus != kCoreless) continue;
      piece.nucleus = forest.coreless().find(piece.start);
      if (piece.nucleus == piece.start) roots.push_back(piece.start);
    }
  }
  for (const int32_t root : roots) forest.point(root, root);
}

}  // namespace nucleiseg::cpu
