// With AVX-512 VBMI the table stays in four registers. Includes no part of the C++ library that
// holds inline functions, as rows.cpp.
#include <immintrin.h>

#include "cpu/simd/rows.h"

namespace nucleiseg::cpu {
namespace {

constexpr size_t kBytes = sizeof(__m512i);

}  // namespace

void look_up_vbmi(const uint8_t* table, const uint8_t* values, size_t count, uint8_t* out) {
  const __m512i first = _mm512_loadu_si512(table);
  const __m512i second = _mm512_loadu_si512(table + kBytes);
  const __m512i third = _mm512_loadu_si512(table + 2 * kBytes);
  const __m512i fourth = _mm512_loadu_si512(table + 3 * kBytes);
  for (size_t i = 0; i < count; i += kBytes) {
    const size_t left = count - i;
    const __mmask64 there = left < kBytes ? (__mmask64{1} << left) - 1 : ~__mmask64{0};
    const __m512i index = _mm512_maskz_loadu_epi8(there, values + i);
    const __m512i low = _mm512_permutex2var_epi8(first, index, second);
    const __m512i high = _mm512_permutex2var_epi8(third, index, fourth);
    const __m512i found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
    _mm512_mask_storeu_epi8(out + i, there, found);
  }
}

}  // namespace nucleiseg::cpu
