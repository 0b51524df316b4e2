#include "cpu/simd/lookup.h"

#include <cstring>

#include "cpu/simd/processor.h"
#include "cpu/simd/rows.h"

namespace nucleiseg::cpu {

#if defined(__x86_64__)
void look_up_vbmi(const uint8_t* table, const uint8_t* values, size_t count, uint8_t* out);

LookUp look_up() {
  const bool in_use = std::strcmp(rows().level, "avx512") == 0;
  return in_use && processor().avx512_vbmi ? look_up_vbmi : nullptr;
}
#else
LookUp look_up() { return nullptr; }
#endif

}  // namespace nucleiseg::cpu
