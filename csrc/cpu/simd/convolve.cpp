#include "cpu/simd/convolve.h"

#include "cpu/simd/processor.h"

namespace nucleiseg::cpu {

namespace portable {
void convolve(const RowOfPixels& row);
}
#if defined(__x86_64__)
namespace avx2 {
void convolve(const RowOfPixels& row);
}
namespace avxvnni {
void convolve(const RowOfPixels& row);
}
namespace avx512vl {
void convolve(const RowOfPixels& row);
}
namespace avx512vnni {
void convolve(const RowOfPixels& row);
}
#elif defined(__aarch64__)
namespace neon {
void convolve(const RowOfPixels& row);
}
namespace neondot {
void convolve(const RowOfPixels& row);
}
#endif

namespace {

#if defined(__x86_64__)
// With 256-bit products of bytes. An AVX-512 processor that lacks AVX-VNNI has its instruction in
// another encoding.
const Convolution* avx_vnni(const Processor& has) {
  static const Convolution evex = {"avxvnni", avx512vl::convolve};
#if !defined(NUCLEISEG_WITHOUT_AVXVNNI)
  static const Convolution vex = {"avxvnni", avxvnni::convolve};
  if (has.avx_vnni) return &vex;
#endif
  return has.avx512_vnni ? &evex : nullptr;
}
#endif

}  // namespace

std::vector<const Convolution*> convolutions() {
  const Processor& has = processor();
  static const Convolution least = {"portable", portable::convolve};
  std::vector<const Convolution*> found = {&least};
#if defined(__x86_64__)
  static const Convolution avx2 = {"avx2", avx2::convolve};
  static const Convolution avx512 = {"avx512vnni", avx512vnni::convolve};
  if (has.avx2) found.push_back(&avx2);
  if (avx_vnni(has)) found.push_back(avx_vnni(has));
  if (has.avx512 && has.avx512_vnni) found.push_back(&avx512);
#elif defined(__aarch64__)
  static const Convolution neon = {"neon", neon::convolve};
  static const Convolution dot = {"neondot", neondot::convolve};
  if (has.neon) found.push_back(&neon);
  if (has.dot_product) found.push_back(&dot);
#endif
  return found;
}

}  // namespace nucleiseg::cpu
