#include "cuda/network_work.h"
#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

__device__ __forceinline__ uint4 greater(const uint4& a, const uint4& b) {
  return {max4(a.x, b.x), max4(a.y, b.y), max4(a.z, b.z), max4(a.w, b.w)};
}

// A thread for each unit of the output; `width` and `units` are the output's.
__global__ void pool_units(const uint4* source, int64_t items, int64_t width, int64_t units,
                           uint4* out) {
  const int64_t i = item();
  if (i >= items) return;
  const int64_t row = i / (width * units);
  const int64_t column = i / units % width;
  const uint4* const above = source + (2 * row * 2 * width + 2 * column) * units + i % units;
  const uint4* const below = above + 2 * width * units;
  out[i] = greater(greater(above[0], above[units]), greater(below[0], below[units]));
}

}  // namespace

void pool(const uint4* source, int64_t count, int64_t height, int64_t width, int64_t units,
          uint4* out, cudaStream_t stream) {
  const int64_t items = count * height * width * units;
  launch_items(pool_units, items, stream, source, items, width, units, out);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
