#include <atomic>

#include "cpu/simd/processor.h"
#include "cpu/simd/rows.h"

namespace nucleiseg::cpu {

#if defined(__aarch64__)
namespace neon {
extern const Rows table;
}
namespace least = neon;
#else
namespace baseline {
extern const Rows table;
}
namespace least = baseline;
#endif
#if defined(__x86_64__)
namespace avx2 {
extern const Rows table;
}
namespace avx512 {
extern const Rows table;
}
void look_up_vbmi(const uint8_t* table, const uint8_t* values, size_t count, uint8_t* out);
#endif

namespace {

std::vector<const Rows*> usable_tables() {
  std::vector<const Rows*> tables = {&least::table};
#if defined(__x86_64__)
  if (processor().avx2) tables.push_back(&avx2::table);
  if (processor().avx512) tables.push_back(&avx512::table);
#endif
  return tables;
}

std::atomic<const Rows*>& chosen() {
  static std::atomic<const Rows*> table{usable_tables().back()};
  return table;
}

}  // namespace

const Rows& rows() { return *chosen().load(std::memory_order_relaxed); }

LookUp look_up() {
#if defined(__x86_64__)
  if (&rows() == &avx512::table && processor().avx512_vbmi) return look_up_vbmi;
#endif
  return nullptr;
}

std::vector<std::string> levels() {
  std::vector<std::string> names;
  for (const Rows* table : usable_tables()) names.emplace_back(table->level);
  return names;
}

void set_level(const std::string& level) {
  chosen().store(&of_level(usable_tables(), level), std::memory_order_relaxed);
}

}  // namespace nucleiseg::cpu
