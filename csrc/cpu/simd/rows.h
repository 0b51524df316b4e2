// The inner loops: one row, values side by side, plain C++ that the compiler vectorises.
//
// rows.cpp is compiled once for each instruction set, each time into a namespace of that name, and
// gives a table of its functions. All tables give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nucleiseg::cpu {

template <class T>
using NormalizeRow = void (*)(const T* values, size_t count, float low, float factor, uint8_t* out);

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
  void (*heights)(const uint8_t* maps, size_t count, uint8_t threshold, int16_t* heights);
  // The rows of heights can be read one before their beginning and one past their end.
  void (*codes)(const int16_t* above, const int16_t* here, const int16_t* below, size_t count,
                int16_t core, uint8_t* codes);
  // The largest of 2 x 2 pixels of two rows, for each of `count` pixels' channels,
  // a multiple of 16.
  void (*pool)(const uint8_t* above, const uint8_t* below, size_t count, size_t channels,
               uint8_t* out);
};

// The table in use: the best this CPU has, unless set_level chose another.
const Rows& rows();

// Names of the tables that this CPU can run, weakest first.
std::vector<std::string> levels();

// Chooses a table by name, for the whole process: how the tests compare them.
void set_level(const std::string& level);

}  // namespace nucleiseg::cpu
