#include "cpu/encode/png.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cpu/simd/rows.h"

namespace nucleiseg::cpu {
namespace {

constexpr int64_t kShortest = 3;   // match of deflate
constexpr int64_t kLongest = 258;  // likewise
constexpr int64_t kReach = 32768;  // bytes back that a match may begin
constexpr int kEndOfBlock = 256;   // a symbol, like the bytes and the lengths of matches
constexpr int kFirstLength = 257;  // the symbol
constexpr int kFirstEightBits = 280;

constexpr size_t kMostBytes = 0x7fffffff;  // of a chunk of a PNG file

struct Code {
  uint32_t bits = 0;  // the first in the lowest place
  int count = 0;
};

Code huffman(uint32_t code, int count) {
  Code reversed = {0, count};
  for (int i = 0; i < count; ++i) reversed.bits |= (code >> i & 1u) << (count - 1 - i);
  return reversed;
}

Code joined(Code first, uint32_t bits, int count) {
  return {first.bits | bits << first.count, first.count + count};
}

Code symbol_code(int symbol) {
  const auto code = static_cast<uint32_t>(symbol);
  if (symbol < 144) return huffman(0x30 + code, 8);
  if (symbol < kEndOfBlock) return huffman(0x190 + code - 144, 9);
  if (symbol < kFirstEightBits) return huffman(code - kEndOfBlock, 7);
  return huffman(0xc0 + code - kFirstEightBits, 8);
}

// Symbols for values in groups: `whole` of one value each, then groups of twice the size each time
// `period` groups are done; further bits say which of the group.
struct Group {
  int symbol;
  uint32_t bits;
  int count;
};

Group group_of(int64_t value, int period) {
  int64_t base = 0;
  for (int symbol = 0;; ++symbol) {
    const int count = std::max(0, symbol / period - 1);
    const int64_t size = int64_t{1} << count;
    if (value < base + size) return {symbol, static_cast<uint32_t>(value - base), count};
    base += size;
  }
}

Code length_code(int64_t length) {
  constexpr int kPeriod = 4;
  constexpr int kLast = 285;  // the longest has a symbol of its own
  if (length == kLongest) return symbol_code(kLast);
  const Group group = group_of(length - kShortest, kPeriod);
  return joined(symbol_code(kFirstLength + group.symbol), group.bits, group.count);
}

Code distance_code(int64_t distance) {
  constexpr int kPeriod = 2;
  constexpr int kBits = 5;
  const Group group = group_of(distance - 1, kPeriod);
  return joined(huffman(static_cast<uint32_t>(group.symbol), kBits), group.bits, group.count);
}

struct Codes {
  std::array<Code, kEndOfBlock + 1> symbols;
  std::array<Code, kLongest + 1> lengths;

  Codes() {
    for (size_t i = 0; i < symbols.size(); ++i) symbols[i] = symbol_code(static_cast<int>(i));
    for (size_t i = kShortest; i < lengths.size(); ++i) {
      lengths[i] = length_code(static_cast<int64_t>(i));
    }
  }
};

const Codes& codes() {
  static const Codes table;
  return table;
}

void put_big_endian(std::string& text, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 0xffu);
}

uint32_t crc(const std::string& text, size_t begin) {
  static const std::array<uint32_t, 256> table = [] {
    constexpr uint32_t kPolynomial = 0xedb88320u;
    std::array<uint32_t, 256> made;
    for (uint32_t i = 0; i < made.size(); ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1u ? kPolynomial : 0u);
      made[i] = value;
    }
    return made;
  }();
  uint32_t value = 0xffffffffu;
  for (size_t i = begin; i < text.size(); ++i) {
    value = value >> 8 ^ table[(value ^ static_cast<uint8_t>(text[i])) & 0xffu];
  }
  return ~value;
}

// Bytes that are equal from the beginning, at most `most`.
int64_t equal_bytes(const uint8_t* a, const uint8_t* b, int64_t most) {
  constexpr int64_t kTogether = 8;
  int64_t count = 0;
  for (; count + kTogether <= most; count += kTogether) {
    if (std::memcmp(a + count, b + count, kTogether) != 0) break;
  }
  while (count < most && a[count] == b[count]) ++count;
  return count;
}

// A zlib stream (RFC 1950) of rows of one size, each behind its filter byte, 0.
class Stream {
 public:
  Stream(std::string& out, int64_t row_bytes, int64_t pixel_bytes)
      : out_(out),
        row_bytes_(row_bytes),
        pixel_bytes_(pixel_bytes),
        above_(row_bytes <= kReach ? distance_code(row_bytes) : Code{}),
        beside_(distance_code(pixel_bytes)) {
    out_ += "\x78\x01";
    constexpr uint32_t kLastBlockOfFixedCodes = 3;
    put({kLastBlockOfFixedCodes, 3});
  }

  // `above` is null for the first row.
  void row(const uint8_t* here, const uint8_t* above) {
    add_up(here);
    if (row_bytes_ > kReach) above = nullptr;
    for (int64_t at = 0; at < row_bytes_;) {
      const int64_t left = row_bytes_ - at;
      const int64_t run =
          at > pixel_bytes_ ? equal_bytes(here + at, here + at - pixel_bytes_, left) : 0;
      const int64_t same = above != nullptr ? equal_bytes(here + at, above + at, left) : 0;
      const int64_t length = std::max(run, same);
      if (length < kShortest) {
        put(codes_.symbols[here[at++]]);
      } else {
        repeat(length, run >= same ? beside_ : above_);
        at += length;
      }
    }
  }

  void end() {
    put(codes_.symbols[kEndOfBlock]);
    put({0, 7});  // the rest of the last byte
    put_big_endian(out_, static_cast<uint32_t>(weighted_ << 16 | sum_));
  }

 private:
  void put(Code code) {
    held_ |= static_cast<uint64_t>(code.bits) << count_;
    count_ += code.count;
    while (count_ >= 8) {
      out_ += static_cast<char>(held_ & 0xffu);
      held_ >>= 8;
      count_ -= 8;
    }
  }

  void repeat(int64_t length, Code distance) {
    while (length > 0) {
      // What is left must not be shorter than a match may be.
      const int64_t part = length <= kLongest ? length : std::min(kLongest, length - kShortest);
      put(codes_.lengths[static_cast<size_t>(part)]);
      put(distance);
      length -= part;
    }
  }

  // Adler's sums (RFC 1950, 8.2), piece by piece.
  void add_up(const uint8_t* bytes) {
    constexpr uint64_t kModulus = 65521;
    constexpr int64_t kPiece = 4096;  // bytes whose weighted sum fits into 32 bits
    for (int64_t at = 0; at < row_bytes_; at += kPiece) {
      const int64_t size = std::min(kPiece, row_bytes_ - at);
      uint32_t sums[2];
      rows().add_up(bytes + at, static_cast<size_t>(size), sums);
      weighted_ = (weighted_ + static_cast<uint64_t>(size) * sum_ + sums[1]) % kModulus;
      sum_ = (sum_ + sums[0]) % kModulus;
    }
  }

  std::string& out_;
  const int64_t row_bytes_;
  const int64_t pixel_bytes_;
  const Codes& codes_ = codes();
  const Code above_;
  const Code beside_;
  uint64_t held_ = 0;
  int count_ = 0;
  uint64_t sum_ = 1;
  uint64_t weighted_ = 0;
};

// Most significant byte first.
void load_row(const ImageView& image, int64_t row, int64_t pixel_bytes, uint8_t* bytes) {
  const std::byte* first = image.data + row * image.row_stride;
  if (pixel_bytes == 1) {
    std::memcpy(bytes, first, static_cast<size_t>(image.width));
    return;
  }
  for (int64_t i = 0; i < image.width; ++i) {
    uint16_t value;
    std::memcpy(&value, first + 2 * i, sizeof value);
    bytes[2 * i] = static_cast<uint8_t>(value >> 8);
    bytes[2 * i + 1] = static_cast<uint8_t>(value & 0xffu);
  }
}

template <class Function>
void chunk(std::string& file, const char* kind, Function&& fill) {
  const size_t begin = file.size();
  put_big_endian(file, 0);
  file += kind;
  fill();
  const size_t size = file.size() - begin - 8;
  if (size > kMostBytes) throw std::length_error("image: too large for a PNG file");
  std::string length;
  put_big_endian(length, static_cast<uint32_t>(size));
  file.replace(begin, length.size(), length);
  put_big_endian(file, crc(file, begin + 4));
}

}  // namespace

std::string png(const ImageView& image) {
  const int64_t pixel_bytes = image.type == ValueType::kUint16 ? 2 : 1;
  std::string file("\x89PNG\r\n\x1a\n");
  chunk(file, "IHDR", [&] {
    put_big_endian(file, static_cast<uint32_t>(image.width));
    put_big_endian(file, static_cast<uint32_t>(image.height));
    file += static_cast<char>(8 * pixel_bytes);
    file.append(4, '\0');  // grey, and the only ways to compress, to filter and to order rows
  });
  chunk(file, "IDAT", [&] {
    const int64_t row_bytes = 1 + image.width * pixel_bytes;
    std::vector<uint8_t> here(static_cast<size_t>(row_bytes), 0);
    std::vector<uint8_t> above = here;
    Stream stream(file, row_bytes, pixel_bytes);
    for (int64_t row = 0; row < image.height; ++row) {
      load_row(image, row, pixel_bytes, here.data() + 1);
      stream.row(here.data(), row > 0 ? above.data() : nullptr);
      std::swap(here, above);
    }
    stream.end();
  });
  chunk(file, "IEND", [] {});
  return file;
}

}  // namespace nucleiseg::cpu
