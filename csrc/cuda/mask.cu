#include "cuda/mask.h"
#include "cuda/pack.h"
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

__global__ void mask_any(ImageView maps, int64_t first, uint8_t threshold, uint8_t* out,
                         std::ptrdiff_t row_stride) {
  const int64_t i = first + item();
  if (i >= maps.height * maps.width) return;
  const int64_t row = i / maps.width;
  const int64_t column = i % maps.width;
  const auto* pixel = reinterpret_cast<const uint8_t*>(maps.data) + row * maps.row_stride +
                      column * maps.column_stride;
  out[row * row_stride + column] = kernels::is_nucleus(*pixel, threshold);
}

bool is_gapless(const ImageView& maps, std::ptrdiff_t row_stride) {
  return maps.channel_stride == 1 && (maps.width == 1 || maps.column_stride == 2) &&
         (maps.height == 1 || (maps.row_stride == 2 * maps.width && row_stride == maps.width));
}

}  // namespace

void mask(const ImageView& maps, uint8_t threshold, uint8_t* out, std::ptrdiff_t row_stride,
          cudaStream_t stream) {
  const int64_t pixels = maps.height * maps.width;
  const bool wide = is_gapless(maps, row_stride) && is_wide(maps.data) && is_wide(out);
  const int64_t blocks = wide ? pixels / kWide : 0;
  launch_items(mask_wide, blocks, stream, reinterpret_cast<const uint8_t*>(maps.data), blocks,
               threshold, out);
  launch_items(mask_any, pixels - kWide * blocks, stream, maps, kWide * blocks, threshold, out,
               row_stride);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
