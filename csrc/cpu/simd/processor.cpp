#include "cpu/simd/processor.h"

#include <cstdint>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace nucleiseg::cpu {
namespace {

#if defined(__x86_64__)

constexpr uint64_t kAvxState = 0x06;     // SSE and AVX registers, which the system must save
constexpr uint64_t kAvx512State = 0xe6;  // and masks and both parts of the 512-bit registers
constexpr uint64_t kTileState = 0x60000;

struct Leaf {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

// Zeros where the processor has no such leaf.
Leaf leaf(uint32_t number, uint32_t part) {
  Leaf found;
  if (!__get_cpuid_count(number, part, &found.a, &found.b, &found.c, &found.d)) return {};
  return found;
}

bool has(uint32_t bits, int bit) { return (bits >> bit & 1) != 0; }

uint64_t saved_state() {
  uint32_t low;
  uint32_t high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

// Asks Linux for the tiles' 8 KiB in the saved state of this process's threads
// (Documentation/arch/x86/xstate.rst of its sources).
bool may_use_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// Bits of CPUID: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A.
Processor detect() {
  Processor found;
  const Leaf basic = leaf(1, 0);
  const bool saves = has(basic.c, 27);
  if (!saves || (saved_state() & kAvxState) != kAvxState) return found;
  const Leaf more = leaf(7, 0);
  const Leaf late = more.a >= 1 ? leaf(7, 1) : Leaf{};
  found.avx2 = has(basic.c, 28) && has(basic.c, 12) && has(more.b, 5);
  found.avx_vnni = found.avx2 && has(late.a, 4);
  if (!found.avx2 || (saved_state() & kAvx512State) != kAvx512State) return found;
  found.avx512 = has(more.b, 16) && has(more.b, 17) && has(more.b, 30) && has(more.b, 31);
  found.avx512_vnni = found.avx512 && has(more.c, 11);
  found.avx512_vbmi = found.avx512 && has(more.c, 1);
  const bool tiles = has(more.d, 24) && has(more.d, 25);
  found.amx =
      found.avx512_vnni && tiles && (saved_state() & kTileState) == kTileState && may_use_tiles();
  return found;
}

#elif defined(__aarch64__)

Processor detect() {
  Processor found;
  found.neon = true;  // every 64-bit Arm has it
#if defined(__linux__)
  constexpr unsigned long kDotProduct = 1UL << 20;  // HWCAP_ASIMDDP
  found.dot_product = (getauxval(AT_HWCAP) & kDotProduct) != 0;
#elif defined(__ARM_FEATURE_DOTPROD)
  found.dot_product = true;
#endif
  return found;
}

#else

Processor detect() { return {}; }

#endif

struct Step {
  const char* level;
  // Whether a processor has it, and how it is taken away.
  bool (*has)(const Processor& one);
  void (*drop)(Processor& one);
};

// Weakest first. Without a step there are none of those after it.
constexpr Step kSteps[] = {
#if defined(__x86_64__)
    {"avx2", [](const Processor& one) { return one.avx2; },
     [](Processor& one) { one.avx2 = false; }},
    // In 256 bits the products are there with either name.
    {"avxvnni", [](const Processor& one) { return one.avx_vnni || one.avx512_vnni; },
     [](Processor& one) { one.avx_vnni = one.avx512_vnni = false; }},
    {"avx512vnni", [](const Processor& one) { return one.avx512 && one.avx512_vnni; },
     [](Processor& one) { one.avx512 = one.avx512_vbmi = false; }},
    {"amx", [](const Processor& one) { return one.amx; }, [](Processor& one) { one.amx = false; }},
#elif defined(__aarch64__)
    {"neon", [](const Processor& one) { return one.neon; },
     [](Processor& one) { one.neon = false; }},
    {"neondot", [](const Processor& one) { return one.dot_product; },
     [](Processor& one) { one.dot_product = false; }},
#else
    {"", [](const Processor&) { return false; }, [](Processor&) {}},
#endif
};

constexpr const char* kLeast = "portable";

Processor limited(const Processor& all, const std::string& level) {
  Processor found = all;
  std::string accepted = kLeast;
  bool reached = level == kLeast;
  for (const Step& step : kSteps) {
    if (reached) step.drop(found);
    if (!step.has(all)) continue;
    accepted += std::string(", ") + step.level;
    reached = reached || level == step.level;
  }
  if (!reached) {
    throw std::invalid_argument(std::string(kLevelVariable) + ": got '" + level +
                                "'; this CPU can run " + accepted);
  }
  return found;
}

}  // namespace

const Processor& whole_processor() {
  static const Processor all = detect();
  return all;
}

const Processor& processor() {
  static const Processor found = [] {
    const char* level = std::getenv(kLevelVariable);
    return level && *level ? limited(whole_processor(), level) : whole_processor();
  }();
  return found;
}

}  // namespace nucleiseg::cpu
