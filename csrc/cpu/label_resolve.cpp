#include "cpu/label_resolve.h"

#include <algorithm>
#include <cstddef>

#include "kernels/label.h"

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

uint64_t key_at(int64_t row, int64_t column, const ImageView& maps) {
  const std::byte* pixel = maps.data + row * maps.row_stride + column * maps.column_stride;
  return kernels::gate_key(std::to_integer<uint8_t>(pixel[maps.channel_stride]),
                           static_cast<int32_t>(row * maps.width + column));
}

uint64_t key_of(int32_t pixel, const ImageView& maps) {
  return key_at(pixel / maps.width, pixel % maps.width, maps);
}

uint8_t highest(const Piece& piece, const ImageView& maps) {
  const int64_t row = piece.start / maps.width;
  const int64_t column = piece.start % maps.width;
  const std::byte* pixel = maps.data + row * maps.row_stride + column * maps.column_stride;
  uint8_t peak = 0;
  for (int32_t i = 0; i < piece.length; ++i, pixel += maps.column_stride) {
    peak = std::max(peak, std::to_integer<uint8_t>(pixel[maps.channel_stride]));
  }
  return peak;
}

// The greatest key of the cored pixels around a coreless piece, or 0.
uint64_t best_gate(const Piece& piece, const ImageView& maps, Forest forest) {
  const auto width = static_cast<int32_t>(maps.width);
  const int32_t row = piece.start / width;
  const int32_t column = piece.start % width;
  uint64_t best = 0;
  const auto look = [&](int32_t r, int32_t first, int32_t last) {
    if (r < 0 || r >= maps.height) return;
    last = std::min(last, width - 1);
    for (int32_t c = std::max(first, 0); c <= last; ++c) {
      if (forest.is_cored(r * width + c)) best = std::max(best, key_at(r, c, maps));
    }
  };
  const int32_t end = column + piece.length;
  look(row - 1, column - 1, end);
  look(row, column - 1, column - 1);
  look(row, end, end);
  look(row + 1, column - 1, end);
  return best;
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

void drop_small_cores(std::vector<Strip>& strips, int64_t min_core, Forest forest) {
  // All roots first: one that holds a number ends no search.
  for (Strip& strip : strips) {
    for (Core& run : strip.cores) run.root = forest.find(run.root);
  }
  std::vector<Core> cores;
  for (const Strip& strip : strips) {
    for (const Core& run : strip.cores) {
      const auto number = static_cast<size_t>(number_set(run.root, cores.size(), forest));
      if (number == cores.size()) cores.push_back({run.root, 0});
      cores[number].area += run.area;
    }
  }
  for (const Core& core : cores) {
    if (core.area >= min_core) {
      forest.point(core.root, core.root);
    } else {
      forest.coreless().point(core.root, core.root);
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

void close_coreless(const std::vector<Strip>& strips, int32_t width, Forest forest) {
  for (const Strip& strip : strips) {
    const int64_t end = (strip.row_begin + 1) * width;
    for (const Piece& piece : strip.pieces) {
      if (piece.start >= end) break;
      if (piece.nucleus == kCoreless) join_coreless_above(piece, width, forest);
    }
  }
}

void find_gates(const ImageView& maps, Forest forest, Strip& strip) {
  for (Piece& piece : strip.pieces) {
    if (piece.nucleus != kCoreless) continue;
    piece.peak = highest(piece, maps);
    const uint64_t key = best_gate(piece, maps, forest);
    if (key != 0) strip.gates.push_back({piece.start, kernels::gate_pixel(key)});
  }
}

void join_nuclei(const ImageView& maps, Forest forest, std::vector<Strip>& strips) {
  // All roots first: one that is marked a nucleus ends no search among coreless pixels.
  std::vector<Piece*> coreless;
  for (Strip& strip : strips) {
    for (Link& gate : strip.gates) gate.from = forest.coreless().find(gate.from);
    for (Piece& piece : strip.pieces) {
      if (piece.nucleus != kCoreless) continue;
      piece.nucleus = forest.coreless().find(piece.start);
      coreless.push_back(&piece);
    }
  }
  for (const Piece* piece : coreless) forest.point(piece->nucleus, piece->nucleus);
  for (const Strip& strip : strips) {
    for (const Link& gate : strip.gates) {
      const int32_t target = forest.target(gate.from);
      if (target == gate.from || key_of(gate.to, maps) > key_of(target, maps)) {
        forest.point(gate.from, gate.to);
      }
    }
  }
  for (Piece* piece : coreless) piece->nucleus = forest.find(piece->nucleus);
}

}  // namespace nucleiseg::cpu
