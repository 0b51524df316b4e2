#include "cuda/scan.h"

#include "emulation/machine.h"

namespace nucleiseg::emulated {

size_t running_sum_workspace(int32_t) { return 1; }

void running_sum(const uint8_t* flags, int32_t* sums, int32_t count, void*, size_t,
                 cudaStream_t stream) {
  NUCLEISEG_CHECK(emulation::enqueue(stream, [=] {
    int32_t sum = 0;
    for (int32_t i = 0; i < count; ++i) {
      sums[i] = sum;
      sum += flags[i];
    }
  }));
}

}  // namespace nucleiseg::emulated
