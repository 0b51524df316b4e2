#include "cpu/simd/convolve.h"

namespace nucleiseg::cpu {

void convolve_portable(const RowOfPixels& row);
#if defined(__x86_64__)
bool has_vnni();
void convolve_vnni(const RowOfPixels& row);
#endif

std::vector<const Convolution*> convolutions() {
  static const Convolution portable = {"portable", convolve_portable};
  std::vector<const Convolution*> found = {&portable};
#if defined(__x86_64__)
  static const Convolution vnni = {"avx512vnni", convolve_vnni};
  if (has_vnni()) found.push_back(&vnni);
#endif
  return found;
}

}  // namespace nucleiseg::cpu
