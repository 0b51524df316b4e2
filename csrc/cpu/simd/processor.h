// The instruction sets that this processor and its operating system have.
//
// They are asked here and not with __builtin_cpu_supports, which answers 0 to everything in builds
// in which the compiler's own table is not yet filled.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace nucleiseg::cpu {

// The environment variable that names the best level to be used.
constexpr const char* kLevelVariable = "NUCLEISEG_SIMD";

struct Processor {
  bool avx2 = false;         // and FMA
  bool avx_vnni = false;     // products of bytes in 256 bits
  bool avx512 = false;       // F, BW, DQ and VL
  bool avx512_vnni = false;  // the same products in 512 bits, or in 256
  bool avx512_vbmi = false;
  bool amx = false;  // products of tiles of bytes, which the system lets this process use
  bool neon = false;
  bool dot_product = false;  // of NEON
};

// What the processor has, without what is above the level that kLevelVariable names.
//
// Throws std::invalid_argument if it names none that the processor has.
const Processor& processor();

// What the processor has, whatever the environment says.
const Processor& whole_processor();

// Of all that it can run the one of a level's name. Throws std::invalid_argument if there is none.
template <class Level>
const Level& of_level(const std::vector<const Level*>& all, const std::string& level) {
  std::string accepted;
  for (const Level* one : all) {
    if (level == one->level) return *one;
    accepted += std::string(accepted.empty() ? "" : ", ") + one->level;
  }
  throw std::invalid_argument("level: got '" + level + "'; this CPU can run " + accepted);
}

}  // namespace nucleiseg::cpu
