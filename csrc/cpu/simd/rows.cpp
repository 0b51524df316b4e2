// Includes no part of the C++ library that holds inline functions: those would be merged at link
// time with the copies of other translation units, which must run on CPUs without these flags.
#include "cpu/simd/rows.h"

#include "kernels/label.h"
#include "kernels/measure.h"
#include "kernels/normalize.h"

#ifndef NUCLEISEG_LEVEL
#error "NUCLEISEG_LEVEL names the instruction set that this file is compiled for"
#endif

#define NUCLEISEG_TEXT_OF(name) #name
#define NUCLEISEG_TEXT(name) NUCLEISEG_TEXT_OF(name)

namespace nucleiseg::cpu::NUCLEISEG_LEVEL {
namespace {

template <class T>
void normalize(const T* __restrict values, size_t count, kernels::Affine map,
               uint8_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = kernels::normalize(static_cast<float>(values[i]), map);
  }
}

void grey_to_rgb(const uint8_t* __restrict grey, size_t count, uint8_t* __restrict rgb) {
  for (size_t i = 0; i < count; ++i) {
    rgb[3 * i] = grey[i];
    rgb[3 * i + 1] = grey[i];
    rgb[3 * i + 2] = grey[i];
  }
}

void mask(const uint8_t* __restrict maps, size_t count, uint8_t threshold,
          uint8_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) out[i] = kernels::is_nucleus(maps[2 * i], threshold);
}

// A pixel's probability and distance in one value: they lie in memory in this order.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the distance is the higher byte");

uint16_t pair(const uint8_t* maps, size_t pixel) {
  uint16_t both;
  __builtin_memcpy(&both, maps + 2 * pixel, sizeof both);
  return both;
}

// Each pixel and the next one in one value, so that mixing gathers one for both.
void mix_across(const uint8_t* __restrict maps, size_t width, Mixes mixes,
                uint32_t* __restrict pairs, int16_t* __restrict out) {
  for (size_t i = 0; i + 1 < width; ++i) {
    pairs[i] = static_cast<uint32_t>(pair(maps, i)) | static_cast<uint32_t>(pair(maps, i + 1))
                                                          << 16;
  }
  pairs[width - 1] = pair(maps, width - 1);  // whose second weight is 0
  const int32_t* __restrict first = mixes.first;
  const int32_t* __restrict first_weight = mixes.first_weight;
  const int32_t* __restrict second_weight = mixes.second_weight;
  for (size_t i = 0; i < mixes.count; ++i) {
    const uint32_t both = pairs[first[i]];
    const auto value = [both](int byte) { return static_cast<int32_t>(both >> (8 * byte) & 255); };
    const int32_t probability = value(0) * first_weight[i] + value(2) * second_weight[i];
    const int32_t distance = value(1) * first_weight[i] + value(3) * second_weight[i];
    out[2 * i] = static_cast<int16_t>(probability >> 4);
    out[2 * i + 1] = static_cast<int16_t>(distance >> 4);
  }
}

void mix_down(const int16_t* __restrict first, const int16_t* __restrict second,
              int16_t first_weight, int16_t second_weight, size_t count, uint8_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) {
    const auto upper = static_cast<int16_t>((first_weight * first[i]) >> 16);
    const auto lower = static_cast<int16_t>((second_weight * second[i]) >> 16);
    out[i] = static_cast<uint8_t>((upper + lower + 2) >> 2);
  }
}

void smooth_across(const uint8_t* __restrict maps, size_t count, uint16_t* __restrict distances,
                   uint16_t* __restrict sums, uint16_t* __restrict out) {
  constexpr size_t kBeside = kernels::kSmoothed;
  for (size_t i = 0; i < count; ++i) {
    distances[kBeside + i] = static_cast<uint16_t>(pair(maps, i) >> 8);
  }
  for (size_t i = 0; i < kBeside; ++i) {
    distances[i] = distances[kBeside];
    distances[kBeside + count + i] = distances[kBeside + count - 1];
  }
  for (size_t i = 0; i < count + kBeside; ++i) {
    sums[i] = kernels::five(distances[i], distances[i + 1], distances[i + 2], distances[i + 3],
                            distances[i + 4]);
  }
  for (size_t i = 0; i < count; ++i) {
    out[i] = kernels::sixteenth(
        kernels::five(sums[i], sums[i + 1], sums[i + 2], sums[i + 3], sums[i + 4]));
  }
}

void smooth_down(const uint16_t* const* five_rows, size_t count, uint16_t* __restrict out) {
  const uint16_t* __restrict a = five_rows[0];
  const uint16_t* __restrict b = five_rows[1];
  const uint16_t* __restrict c = five_rows[2];
  const uint16_t* __restrict d = five_rows[3];
  const uint16_t* __restrict e = five_rows[4];
  for (size_t i = 0; i < count; ++i) {
    out[i] = kernels::sixteenth(kernels::five(a[i], b[i], c[i], d[i], e[i]));
  }
}

void heights(const uint16_t* const* five_rows, const uint8_t* __restrict maps, size_t count,
             uint8_t threshold, int16_t* __restrict out) {
  const uint16_t* __restrict a = five_rows[0];
  const uint16_t* __restrict b = five_rows[1];
  const uint16_t* __restrict c = five_rows[2];
  const uint16_t* __restrict d = five_rows[3];
  const uint16_t* __restrict e = five_rows[4];
  for (size_t i = 0; i < count; ++i) {
    const uint16_t smoothed = kernels::sixteenth(kernels::five(a[i], b[i], c[i], d[i], e[i]));
    out[i] = kernels::height(static_cast<uint8_t>(pair(maps, i)), smoothed, threshold);
  }
}

void codes(const int16_t* __restrict above, const int16_t* __restrict here,
           const int16_t* __restrict below, size_t count, uint8_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = kernels::code(here[i], kernels::steepest(above + i, here + i, below + i));
  }
}

// 255 or 0, without a branch for the compiler to keep.
uint8_t flag(bool is_true) { return static_cast<uint8_t>(0 - static_cast<int>(is_true)); }

// Do a pixel and the next one climb into the same other row, to pixels that are linked there? The
// codes that lead to that row begin with `first`; `other` are its links, from the pixel's column
// on.
uint8_t linked_across(const uint8_t* codes, const uint8_t* other, uint8_t first) {
  const uint8_t before = other[-1];
  const uint8_t here = other[0];
  const uint8_t after = other[1];
  const auto a = static_cast<uint8_t>(codes[0] - first);
  const auto b = static_cast<uint8_t>(codes[1] - first);
  const auto both = static_cast<uint8_t>(flag(a < 3) & flag(b < 3));
  // Steps of -1, 0 and 1 columns are 0, 1 and 2: the left pixel's goes to a - 1, the other's to b.
  const auto same = static_cast<uint8_t>(flag(static_cast<uint8_t>(b + 1) == a));
  const auto aside = static_cast<uint8_t>(flag(a == b) & flag(a != 1));
  return static_cast<uint8_t>(both & (flag(a != 0) | before) & (flag(b != 2) | after) &
                              (same | aside | here));
}

constexpr uint8_t kToNorthWest = kernels::kClimb;
constexpr uint8_t kToNorth = kernels::kClimb + 1;
constexpr uint8_t kToNorthEast = kernels::kClimb + 2;
constexpr uint8_t kToWest = kernels::kClimb + kernels::kWest;
constexpr uint8_t kToEast = kernels::kClimb + kernels::kEast;
constexpr uint8_t kToSouthWest = kernels::kClimb + kernels::kSouth - 1;
constexpr uint8_t kToSouth = kernels::kClimb + kernels::kSouth;
constexpr uint8_t kToSouthEast = kernels::kClimb + kernels::kSouth + 1;

// Which pixels of a row are linked to those below them: one climbs to the other, or to one that is
// linked to the other in its row.
void link_down(const uint8_t* __restrict codes, const uint8_t* __restrict below_codes,
               const uint8_t* __restrict links, const uint8_t* __restrict below, size_t count,
               uint8_t* __restrict down) {
  const uint8_t* __restrict before = links - 1;
  const uint8_t* __restrict below_before = below - 1;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t upper = codes[i];
    const uint8_t lower = below_codes[i];
    down[i] = static_cast<uint8_t>(
        flag(upper == kToSouth) | flag(lower == kToNorth) |
        (flag(upper == kToSouthWest) & below_before[i]) | (flag(upper == kToSouthEast) & below[i]) |
        (flag(lower == kToNorthWest) & before[i]) | (flag(lower == kToNorthEast) & links[i]));
  }
}

// Links of a row from `down`, those to another row, where `west` and `east` lead.
void link_around(const uint8_t* __restrict codes, const uint8_t* __restrict other,
                 const uint8_t* __restrict down, uint8_t west, uint8_t east, size_t count,
                 uint8_t* __restrict links) {
  const uint8_t* __restrict next = codes + 1;
  const uint8_t* __restrict next_down = down + 1;
  for (size_t i = 0; i < count; ++i) {
    links[i] = static_cast<uint8_t>(links[i] | (flag(next[i] == west) & down[i]) |
                                    (flag(codes[i] == east) & next_down[i]) |
                                    (down[i] & next_down[i] & other[i]));
  }
}

void link_above(const uint8_t* __restrict above_codes, const uint8_t* __restrict codes,
                const uint8_t* __restrict above, size_t count, uint8_t* __restrict links,
                uint8_t* __restrict down) {
  for (size_t i = 0; i < count; ++i) {
    links[i] = static_cast<uint8_t>(flag(codes[i] == kToEast) | flag(codes[i + 1] == kToWest) |
                                    linked_across(codes + i, above + i, kToNorthWest));
  }
  link_down(above_codes, codes, above, links, count, down);
  link_around(codes, above, down, kToNorthWest, kToNorthEast, count, links);
}

void link_below(const uint8_t* __restrict codes, const uint8_t* __restrict below_codes,
                const uint8_t* __restrict below, size_t count, uint8_t* __restrict links,
                uint8_t* __restrict down) {
  for (size_t i = 0; i < count; ++i) {
    links[i] = static_cast<uint8_t>(links[i] | linked_across(codes + i, below + i, kToSouthWest));
  }
  link_down(codes, below_codes, links, below, count, down);
  link_around(codes, below, down, kToSouthWest, kToSouthEast, count, links);
}

void tops(const int16_t* __restrict heights, const uint8_t* __restrict links, size_t count,
          uint8_t* __restrict out) {
  const int16_t* __restrict before = heights - 1;
  const int16_t* __restrict after = heights + 1;
  const uint8_t* __restrict links_before = links - 1;
  for (size_t i = 0; i < count; ++i) {
    const auto lower = static_cast<uint8_t>((flag(before[i] >= heights[i]) & links_before[i]) |
                                            (flag(after[i] > heights[i]) & links[i]));
    out[i] = static_cast<uint8_t>(flag(heights[i] >= 0) & ~lower);
  }
}

uint8_t larger(uint8_t a, uint8_t b) { return a > b ? a : b; }

void pool(const uint8_t* __restrict above, const uint8_t* __restrict below, size_t count,
          size_t channels, uint8_t* __restrict out) {
  constexpr size_t kTogether = 16;
  for (size_t i = 0; i < count * channels; i += kTogether) {
    const size_t left = i / channels * channels + i;
    const size_t right = left + channels;
    for (size_t c = 0; c < kTogether; ++c) {
      out[i + c] = larger(larger(above[left + c], above[right + c]),
                          larger(below[left + c], below[right + c]));
    }
  }
}

template <class Key>
Key lesser(Key a, Key b) {
  return a < b ? a : b;
}

template <class Key>
void spread_ring(const int32_t* __restrict ids, const Key* __restrict near, size_t count,
                 kernels::RingKeys<Key> rule, Key* __restrict keys) {
  const Key* left = near - 1;
  for (size_t i = 0; i < count; ++i) {
    const Key least = lesser(lesser(left[i], left[i + 1]), left[i + 2]);
    keys[i] = lesser<Key>(kernels::ring_key(ids[i], rule), least + rule.step);
  }
}

template <class Key>
void least_key(const Key* a, const Key* b, size_t count, Key* keys) {
  for (size_t i = 0; i < count; ++i) keys[i] = lesser(a[i], b[i]);
}

template <class Key>
void widen_ring(const Key* __restrict from, size_t count, size_t shift, Key cost,
                Key* __restrict keys) {
  const Key* left = from - shift;
  const Key* right = from + shift;
  for (size_t i = 0; i < count; ++i) {
    keys[i] = lesser<Key>(from[i], lesser(left[i], right[i]) + cost);
  }
}

template <class Key>
void ring_owners(const int32_t* __restrict ids, const Key* __restrict keys, size_t count,
                 kernels::RingKeys<Key> rule, int32_t* __restrict owners) {
  for (size_t i = 0; i < count; ++i) owners[i] = kernels::ring_owner(ids[i], keys[i], rule);
}

template <class Key>
constexpr RingRows<Key> kRing = {spread_ring<Key>, least_key<Key>, widen_ring<Key>,
                                 ring_owners<Key>};

}  // namespace

extern const Rows table;
const Rows table = {NUCLEISEG_TEXT(NUCLEISEG_LEVEL),
                    normalize<uint8_t>,
                    normalize<uint16_t>,
                    normalize<int16_t>,
                    normalize<float>,
                    normalize<double>,
                    grey_to_rgb,
                    mask,
                    mix_across,
                    mix_down,
                    smooth_across,
                    smooth_down,
                    heights,
                    codes,
                    link_above,
                    link_below,
                    tops,
                    pool,
                    kRing<uint32_t>,
                    kRing<uint64_t>};

}  // namespace nucleiseg::cpu::NUCLEISEG_LEVEL
