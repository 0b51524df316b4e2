// Includes no part of the C++ library that holds inline functions: those would be merged at link
// time with the copies of other translation units, which must run on CPUs without these flags.
#include "cpu/simd/rows.h"

#include "kernels/label.h"
#include "kernels/mask.h"
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
void normalize(const T* __restrict values, size_t count, float low, float factor,
               uint8_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = kernels::normalize(static_cast<float>(values[i]), low, factor);
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

void heights(const uint8_t* __restrict maps, size_t count, uint8_t threshold,
             int16_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = kernels::height(maps[2 * i], maps[2 * i + 1], threshold);
  }
}

void codes(const int16_t* __restrict above, const int16_t* __restrict here,
           const int16_t* __restrict below, size_t count, int16_t core, uint8_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = kernels::code(here[i], kernels::steepest(above + i, here + i, below + i), core);
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

void add_up(const uint8_t* __restrict bytes, size_t count, uint32_t* __restrict sums) {
  uint32_t sum = 0;
  uint32_t weighted = 0;
  const auto size = static_cast<uint32_t>(count);
  for (uint32_t i = 0; i < size; ++i) {
    sum += bytes[i];
    weighted += (size - i) * bytes[i];
  }
  sums[0] = sum;
  sums[1] = weighted;
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
                    heights,
                    codes,
                    pool,
                    add_up,
                    kRing<uint32_t>,
                    kRing<uint64_t>};

}  // namespace nucleiseg::cpu::NUCLEISEG_LEVEL
