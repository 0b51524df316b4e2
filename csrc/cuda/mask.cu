#include "cuda/mask.h"
#include "cuda/values.h"
#include "cuda/words.h"
#include "kernels/label.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

// Sixteen pixels of maps without gaps.
__global__ void mask_wide(const uint8_t* maps, int64_t count, uint8_t threshold, uint8_t* out) {
  const int64_t i = item();
  if (i >= count) return;
  Pack<uint8_t> found;
  NUCLEISEG_UNROLL for (int half = 0; half < 2; ++half) {
    const auto pairs = Pack<uint8_t>::load(maps + kWide * (2 * i + half));
    NUCLEISEG_UNROLL for (int pixel = 0; pixel < kWide / 2; ++pixel) {
      const bool nucleus = kernels::is_nucleus(pairs.values[2 * pixel], threshold);
      found.values[kWide / 2 * half + pixel] = nucleus;
    }
  }
  found.store(out + kWide * i);
}

__global__ void mask_any(ImageView maps, int64_t first, uint8_t threshold, uint8_t* out) {
  const int64_t i = first + item();
  if (i >= maps.height * maps.width) return;
  out[i] = kernels::is_nucleus(*reinterpret_cast<const uint8_t*>(pixel_at(maps, i)), threshold);
}

}  // namespace

void mask(const ImageView& maps, uint8_t threshold, uint8_t* out, cudaStream_t stream) {
  const int64_t pixels = maps.height * maps.width;
  const bool wide = is_gapless<uint8_t>(maps) && is_wide(out);
  const int64_t blocks = wide ? pixels / kWide : 0;
  launch_items(mask_wide, blocks, stream, reinterpret_cast<const uint8_t*>(maps.data), blocks,
               threshold, out);
  launch_items(mask_any, pixels - kWide * blocks, stream, maps, kWide * blocks, threshold, out);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
