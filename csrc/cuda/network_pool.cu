#include "cuda/network_work.h"
#include "cuda/words.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

__device__ __forceinline__ uint4 greater(const uint4& a, const uint4& b) {
  return {max4(a.x, b.x), max4(a.y, b.y), max4(a.z, b.z), max4(a.w, b.w)};
}

// A thread for each unit of the output; `width` and `units` are the output's.
__global__ void pool_units(const uint4* source, uint32_t items, uint32_t width, uint32_t units,
                           uint4* out) {
  const auto i = static_cast<uint32_t>(item());
  if (i >= items) return;
  const uint32_t pixel = i / units;
  const uint32_t row = pixel / width;
  const uint32_t column = pixel % width;
  const int64_t first = int64_t{2} * row * 2 * width + 2 * column;
  const uint4* const above = source + first * units + i % units;
  const uint4* const below = above + int64_t{2} * width * units;
  out[i] = greater(greater(above[0], above[units]), greater(below[0], below[units]));
}

}  // namespace

void pool(const uint4* source, int64_t count, int64_t height, int64_t width, int64_t units,
          uint4* out, cudaStream_t stream) {
  const int64_t items = count * height * width * units;
  launch_items(pool_units, items, stream, source, static_cast<uint32_t>(items),
               static_cast<uint32_t>(width), static_cast<uint32_t>(units), out);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
