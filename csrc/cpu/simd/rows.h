// The inner loops: one row, values side by side, plain C++ that the compiler vectorises.
//
// rows.cpp is compiled once for each instruction set, each time into a namespace of that name, and
// gives a table of its functions. All tables give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/measure.h"
#include "kernels/normalize.h"

namespace nucleiseg::cpu {

template <class T>
using NormalizeRow = void (*)(const T* values, size_t count, kernels::Affine map, uint8_t* out);

// Keys of rings, which csrc/kernels/measure.h explains.
template <class Key>
struct RingRows {
  // A row's keys from its ids and the keys of the row above, or below, which can be read one before
  // their beginning and one past their end.
  void (*spread)(const int32_t* ids, const Key* near, size_t count, kernels::RingKeys<Key> rule,
                 Key* keys);
  void (*least)(const Key* a, const Key* b, size_t count, Key* keys);
  // The least of a key and those `shift` to its left and right; they can be read as far outside.
  void (*widen)(const Key* from, size_t count, size_t shift, Key cost, Key* keys);
  void (*owners)(const int32_t* ids, const Key* keys, size_t count, kernels::RingKeys<Key> rule,
                 int32_t* owners);
};

// Of each target pixel of a row the first of the two source pixels that are mixed, and both
// weights.
struct Mixes {
  const int32_t* first;
  const int32_t* first_weight;
  const int32_t* second_weight;
  size_t count;
};

struct Rows {
  const char* level;
  NormalizeRow<uint8_t> normalize_uint8;
  NormalizeRow<uint16_t> normalize_uint16;
  NormalizeRow<int16_t> normalize_int16;
  NormalizeRow<float> normalize_float;
  NormalizeRow<double> normalize_double;
  // Each grey byte three times.
  void (*grey_to_rgb)(const uint8_t* grey, size_t count, uint8_t* rgb);
  // `maps` holds (probability, distance) pairs, here and below.
  void (*mask)(const uint8_t* maps, size_t count, uint8_t threshold, uint8_t* mask);
  // Bilinear interpolation of maps, `width` pixels of them, along the row: in sixteenths of the
  // weights' fixed point. `pairs` is scratch of `width` values.
  void (*mix_across)(const uint8_t* maps, size_t width, Mixes mixes, uint32_t* pairs, int16_t* out);
  // The same from row to row.
  void (*mix_down)(const int16_t* first, const int16_t* second, int16_t first_weight,
                   int16_t second_weight, size_t count, uint8_t* out);
  // Distances smoothed along the row. `distances` and `sums` are scratch, of 8 and 4
  // values more than `count`.
  void (*smooth_across)(const uint8_t* maps, size_t count, uint16_t* distances, uint16_t* sums,
                        uint16_t* out);
  // The same from row to row, of five rows; for heights a second time.
  void (*smooth_down)(const uint16_t* const* five_rows, size_t count, uint16_t* out);
  void (*heights)(const uint16_t* const* five_rows, const uint8_t* maps, size_t count,
                  uint8_t threshold, int16_t* heights);
  // The rows here and below can be read one before their beginning and one past their end.
  void (*codes)(const int16_t* above, const int16_t* here, const int16_t* below, size_t count,
                uint8_t* codes);
  // links[i] is 255 where pixels i and i + 1 are known to reach one peak, and else 0. The first
  // writes what the row and the one above tell, the second adds what the row below tells. `scratch`
  // is a row, too, and 0 in the end behind `count`.
  void (*link_above)(const uint8_t* above_codes, const uint8_t* codes, const uint8_t* above_links,
                     size_t count, uint8_t* links, uint8_t* scratch);
  void (*link_below)(const uint8_t* codes, const uint8_t* below_codes, const uint8_t* below_links,
                     size_t count, uint8_t* links, uint8_t* scratch);
  // 255 where a nucleus pixel is higher than those that it is linked to, the first of equal ones.
  void (*tops)(const int16_t* heights, const uint8_t* links, size_t count, uint8_t* tops);
  // The largest of 2 x 2 pixels of two rows, for each of `count` pixels' channels,
  // a multiple of 16.
  void (*pool)(const uint8_t* above, const uint8_t* below, size_t count, size_t channels,
               uint8_t* out);
  RingRows<uint32_t> ring32;
  RingRows<uint64_t> ring64;
};

// The table in use: the best this CPU has, unless set_level chose another.
const Rows& rows();

// Names of the tables that this CPU can run, weakest first.
std::vector<std::string> levels();

// Chooses a table by name, for the whole process: how the tests compare them.
void set_level(const std::string& level);

// Looks a table of 256 bytes up for each byte of a row.
using LookUp = void (*)(const uint8_t* table, const uint8_t* values, size_t count, uint8_t* out);

// What does it at the memory's speed; null where this CPU, or the level of instructions in use, has
// nothing faster than to compute the bytes.
LookUp look_up();

}  // namespace nucleiseg::cpu
