#include "cpu/measure/csv.h"

#if defined(NUCLEISEG_HAS_CSV)
#include <algorithm>
#include <cmath>

namespace nucleiseg::cpu {
namespace {

constexpr size_t kMostCharacters = 32;

void write(std::string& text, uint8_t value) { text += value != 0 ? "True" : "False"; }

void write(std::string& text, int64_t value) {
  char buffer[kMostCharacters];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  text.append(buffer, end);
}

// Python's repr has an exponent below and beyond these sizes, and else a point.
constexpr double kLeastFixed = 1e-4;
constexpr double kExponents = 1e16;

void write(std::string& text, double value) {
  if (std::isnan(value)) return;
  const double size = std::fabs(value);
  const bool is_fixed = size == 0.0 || (size >= kLeastFixed && size < kExponents);
  char buffer[kMostCharacters];
  const auto format = is_fixed ? std::chars_format::fixed : std::chars_format::scientific;
  char* const end = std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr;
  text.append(buffer, end);
  if (is_fixed && std::find(buffer, end, '.') == end) text += ".0";
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
