// PNG files of masks and labels: areas of one value each, so rows that hardly differ from the row
// above.
#pragma once

#include <cstdint>
#include <string>

#include "cpu/image.h"

namespace nucleiseg::cpu {

// A grey image of uint8 or uint16, whose pixels lie side by side in a row. Each row is described by
// what it shares with the row above and by its runs, in deflate's fixed codes (RFC 1951, 3.2.6):
// a compressor that has to find such things out takes several times as long.
std::string png(const ImageView& image);

}  // namespace nucleiseg::cpu
