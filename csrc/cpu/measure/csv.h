// Columns of numbers as lines of text, each number as Python writes it.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

// The shortest decimals that give a double back came to GCC's library with version 11.
#if defined(__cpp_lib_to_chars) && __cpp_lib_to_chars >= 201611L
#define NUCLEISEG_HAS_CSV
#endif

#if defined(NUCLEISEG_HAS_CSV)
namespace nucleiseg::cpu {

// Bytes are booleans: of NumPy's any but 0 may be true, which no bool of C++ may be.
using CsvColumn = std::variant<const uint8_t*, const int64_t*, const double*>;

// Lines that end with "\r\n" (RFC 4180). What is nan is left empty.
std::string csv_rows(const std::vector<CsvColumn>& columns, int64_t rows);

}  // namespace nucleiseg::cpu
#endif
