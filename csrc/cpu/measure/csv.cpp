#include "cpu/measure/csv.h"

#if defined(NUCLEISEG_HAS_CSV)
#include <cmath>
#include <cstring>
#include <string_view>

namespace nucleiseg::cpu {
namespace {

// Python's repr has an exponent where the point would be farther left or right than this.
constexpr int kLeastPoint = -3;
constexpr int kGreatestPoint = 16;

constexpr int kMostDigits = 17;  // of the shortest decimals of a double
constexpr size_t kMostCharacters = 32;

void write(std::string& text, uint8_t value) { text += value != 0 ? "True" : "False"; }

void write(std::string& text, int64_t value) {
  char buffer[kMostCharacters];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  text.append(buffer, end);
}

// Digits with a point behind `point` of them, which may lie before the first or after the last.
void write_fixed(std::string& text, std::string_view digits, int point) {
  if (point <= 0) {
    text += "0.";
    text.append(static_cast<size_t>(-point), '0');
    text += digits;
    return;
  }
  const auto whole = static_cast<size_t>(point);
  if (digits.size() <= whole) {
    text += digits;
    text.append(whole - digits.size(), '0');
    text += ".0";
    return;
  }
  text += digits.substr(0, whole);
  text += '.';
  text += digits.substr(whole);
}

void write(std::string& text, double value) {
  if (std::isnan(value)) return;
  if (std::signbit(value)) text += '-';
  value = std::fabs(value);
  if (std::isinf(value)) {
    text += "inf";
    return;
  }
  if (value == 0.0) {
    text += "0.0";
    return;
  }
  char buffer[kMostCharacters];
  const char* end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const char* mark = static_cast<const char*>(std::memchr(buffer, 'e', sizeof buffer));
  int exponent = 0;
  std::from_chars(mark + (mark[1] == '+' ? 2 : 1), end, exponent);
  const int point = exponent + 1;
  if (point < kLeastPoint || point > kGreatestPoint) {
    text.append(buffer, static_cast<size_t>(end - buffer));
    return;
  }
  char digits[kMostDigits];
  digits[0] = buffer[0];
  const char* rest = mark > buffer + 2 ? buffer + 2 : mark;
  const auto count = static_cast<size_t>(mark - rest);
  std::memcpy(digits + 1, rest, count);
  write_fixed(text, {digits, count + 1}, point);
}

}  // namespace

std::string csv_rows(const std::vector<CsvColumn>& columns, int64_t rows) {
  constexpr size_t kUsual = 20;  // characters of a number, as a rule
  std::string text;
  text.reserve(static_cast<size_t>(rows) * columns.size() * kUsual);
  for (int64_t row = 0; row < rows; ++row) {
    const char* between = "";
    for (const CsvColumn& column : columns) {
      text += between;
      between = ",";
      std::visit([&](const auto* values) { write(text, values[row]); }, column);
    }
    text += "\r\n";
  }
  return text;
}

}  // namespace nucleiseg::cpu
#endif
