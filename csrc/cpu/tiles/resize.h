// An image at another size, any rectangle of it by itself.
//
// Each pixel is a weighted sum of the source's, first along rows, then along columns: of the area
// that it covers where the image shrinks, and of the 4 nearest pixels by Keys's cubic with a = -3/4
// ("Cubic convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981,
// doi:10.1109/TASSP.1981.1163711) where it grows. That is what OpenCV's INTER_AREA and INTER_CUBIC
// compute; but there the sums depend on the processor and on where a crop begins, while here a
// pixel depends on nothing but the source and its place.
#pragma once

#include <cstdint>

#include "cpu/image.h"
#include "kernels/tiles.h"

namespace nucleiseg::cpu {

using kernels::Rectangle;

// Writes `part` of the image at (height, width) to `out`, row after row, in the image's type. The
// image has 1 to 4 channels. Of its rows only those that `resize_rows` names are read.
void resize(const ImageView& image, int64_t height, int64_t width, const Rectangle& part, void* out,
            int threads);

struct RowRange {
  int64_t begin;
  int64_t end;
};

// The rows of the image that rows begin to end of the result depend on.
RowRange resize_rows(const ImageView& image, int64_t height, int64_t width, int64_t begin,
                     int64_t end);

}  // namespace nucleiseg::cpu
