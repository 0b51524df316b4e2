#include "cpu/simd/convolve.h"

#include "cpu/simd/processor.h"

namespace nucleiseg::cpu {

// What the files of a level define; some have no strips.
#define NUCLEISEG_DECLARE(level)               \
  namespace level {                            \
  void convolve(const RowOfPixels& row);       \
  void convolve_strip(const TileStrip& strip); \
  int64_t exercise(int64_t times);             \
  }
NUCLEISEG_DECLARE(portable)
#if defined(__x86_64__)
NUCLEISEG_DECLARE(avx2)
NUCLEISEG_DECLARE(avxvnni)
NUCLEISEG_DECLARE(avx512vl)
NUCLEISEG_DECLARE(avx512vnni)
NUCLEISEG_DECLARE(amx)
#elif defined(__aarch64__)
NUCLEISEG_DECLARE(neon)
NUCLEISEG_DECLARE(neondot)
#endif

namespace {

#if defined(__x86_64__)
// With 256-bit products of bytes. An AVX-512 processor that lacks AVX-VNNI has its instruction in
// another encoding.
const Convolution* avx_vnni(const Processor& has) {
  static const Convolution evex = {"avxvnni", avx512vl::convolve, avx512vl::exercise,
                                   avx512vl::convolve_strip, 16};
#if !defined(NUCLEISEG_WITHOUT_AVXVNNI)
  static const Convolution vex = {"avxvnni", avxvnni::convolve, avxvnni::exercise,
                                  avxvnni::convolve_strip, 16};
  if (has.avx_vnni) return &vex;
#endif
  return has.avx512_vnni ? &evex : nullptr;
}
#endif

}  // namespace

std::vector<const Convolution*> convolutions() {
  const Processor& has = processor();
  static const Convolution least = {"portable", portable::convolve, portable::exercise};
  std::vector<const Convolution*> found = {&least};
#if defined(__x86_64__)
  static const Convolution avx2 = {"avx2", avx2::convolve, avx2::exercise, avx2::convolve_strip, 8};
  static const Convolution avx512 = {"avx512vnni", avx512vnni::convolve, avx512vnni::exercise,
                                     avx512vnni::convolve_strip, 16};
  if (has.avx2) found.push_back(&avx2);
  if (avx_vnni(has)) found.push_back(avx_vnni(has));
  if (has.avx512 && has.avx512_vnni) found.push_back(&avx512);
#if !defined(NUCLEISEG_WITHOUT_AMX)
  static const Convolution amx = {"amx", amx::convolve, amx::exercise};
  if (has.amx) found.push_back(&amx);
#endif
#elif defined(__aarch64__)
  static const Convolution neon = {"neon", neon::convolve, neon::exercise};
  static const Convolution dot = {"neondot", neondot::convolve, neondot::exercise};
  if (has.neon) found.push_back(&neon);
  if (has.dot_product) found.push_back(&dot);
#endif
  return found;
}

const Convolution& convolution(const std::string& level) {
  const std::vector<const Convolution*> all = convolutions();
  return level.empty() ? *all.back() : of_level(all, level);
}

}  // namespace nucleiseg::cpu
