// The words of csrc/cuda/matrix.h for a C++ compiler, which multiplies plainly: here a warp is one
// thread, and has whole matrices.
#pragma once

#include "emulation/words.h"

namespace nucleiseg::emulated {

template <int rows>
struct Bytes {
  void load(const uint4* first, const uint4* second) {
    for (int row = 0; row < rows; ++row) {
      std::memcpy(values[row], first + row, sizeof(uint4));
      std::memcpy(values[row] + sizeof(uint4), second + row, sizeof(uint4));
    }
  }

  template <class Word>
  void gather(Word&& word) {
    for (int row = 0; row < rows; ++row) {
      for (int i = 0; i < 8; ++i) {
        const uint32_t found = word(row, i);
        std::memcpy(values[row] + 4 * i, &found, sizeof found);
      }
    }
  }

  int8_t values[rows][2 * sizeof(uint4)];
};

using Left = Bytes<16>;
using Right = Bytes<8>;

template <int tiles>
class Products {
 public:
  void clear() { std::memset(sums_, 0, sizeof(sums_)); }

  void add(const Left& a, const Right& b, int tile) {
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        int32_t sum = 0;
        for (size_t i = 0; i < sizeof(a.values[0]); ++i) {
          sum += a.values[row][i] * b.values[column][i];
        }
        sums_[tile][row][column] += sum;
      }
    }
  }

  template <class Body>
  void for_each(Body&& body) const {
    for (int row = 0; row < 16; ++row) {
      for (int part = 0; part < 4; ++part) {
        int32_t values[2 * tiles];
        for (int i = 0; i < 2 * tiles; ++i) values[i] = sums_[i / 2][row][2 * part + i % 2];
        body(row, part, values);
      }
    }
  }

 private:
  int32_t sums_[tiles][16][8];
};

}  // namespace nucleiseg::emulated
