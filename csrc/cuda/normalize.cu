#include "cuda/normalize.h"
#include "cuda/pack.h"
#include "cuda/values.h"
#include "cuda/words.h"
#include "kernels/normalize.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

constexpr int kOutputChannels = 3;

__device__ __forceinline__ kernels::Affine affine(const Limits* limits) {
  return kernels::affine(static_cast<float>(limits->low), static_cast<float>(limits->high),
                         static_cast<float>(limits->ceiling));
}

template <class T>
__device__ __forceinline__ uint8_t byte_of(T value, const kernels::Affine& map) {
  return kernels::normalize(static_cast<float>(value), map);
}

// Sixteen bytes of values that lie as the output does.
template <class T>
__global__ void normalize_wide(const std::byte* image, int64_t items, const Limits* limits,
                               uint8_t* out) {
  const int64_t i = item();
  if (i >= items) return;
  const kernels::Affine map = affine(limits);
  Pack<uint8_t> bytes;
  NUCLEISEG_UNROLL for (int k = 0; k < static_cast<int>(sizeof(T)); ++k) {
    const auto values = Pack<T>::load(image + (i * sizeof(T) + k) * kWide);
    NUCLEISEG_UNROLL for (int j = 0; j < Pack<T>::kCount; ++j) {
      bytes.values[k * Pack<T>::kCount + j] = byte_of(values.values[j], map);
    }
  }
  bytes.store(out + i * kWide);
}

// Sixteen grey pixels: three times sixteen bytes.
template <class T>
__global__ void normalize_grey(const std::byte* image, int64_t items, const Limits* limits,
                               uint8_t* out) {
  const int64_t i = item();
  if (i >= items) return;
  const kernels::Affine map = affine(limits);
  Pack<uint8_t> bytes[kOutputChannels];
  NUCLEISEG_UNROLL for (int k = 0; k < static_cast<int>(sizeof(T)); ++k) {
    const auto values = Pack<T>::load(image + (i * sizeof(T) + k) * kWide);
    NUCLEISEG_UNROLL for (int j = 0; j < Pack<T>::kCount; ++j) {
      const uint8_t byte = byte_of(values.values[j], map);
      NUCLEISEG_UNROLL for (int c = 0; c < kOutputChannels; ++c) {
        const int at = (k * Pack<T>::kCount + j) * kOutputChannels + c;
        bytes[at / kWide].values[at % kWide] = byte;
      }
    }
  }
  NUCLEISEG_UNROLL for (int c = 0; c < kOutputChannels; ++c) {
    bytes[c].store(out + (i * kOutputChannels + c) * kWide);
  }
}

// One pixel of any image; grey has its one channel read three times.
template <class T>
__global__ void normalize_any(ImageView image, int64_t first, const Limits* limits, uint8_t* out) {
  const int64_t i = first + item();
  if (i >= image.height * image.width) return;
  const kernels::Affine map = affine(limits);
  const std::byte* const pixel = pixel_at(image, i);
  const std::ptrdiff_t step = image.channels == 1 ? 0 : image.channel_stride;
  NUCLEISEG_UNROLL for (int c = 0; c < kOutputChannels; ++c) {
    out[i * kOutputChannels + c] = byte_of(value_at<T>(pixel + c * step), map);
  }
}

// Pixels that the wide kernels deal with: a multiple of sixteen.
template <class T>
int64_t wide_pixels(const ImageView& image, const uint8_t* out) {
  if (!is_gapless<T>(image) || !is_wide(out)) return 0;
  return image.height * image.width / kWide * kWide;
}

template <class T>
void normalize_as(const ImageView& image, const Limits* limits, uint8_t* out, cudaStream_t stream) {
  const int64_t wide = wide_pixels<T>(image, out);
  const int64_t items = wide * image.channels / kWide;
  launch_items(image.channels == 1 ? normalize_grey<T> : normalize_wide<T>, items, stream,
               image.data, items, limits, out);
  launch_items(normalize_any<T>, image.height * image.width - wide, stream, image, wide, limits,
               out);
}

}  // namespace

void normalize(const ImageView& image, const Limits* limits, uint8_t* out, cudaStream_t stream) {
  with_value_type(image.type,
                  [&](auto zero) { normalize_as<decltype(zero)>(image, limits, out, stream); });
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
