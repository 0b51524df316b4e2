// Files of results: PNG of masks and labels here, lines of CSV in csv.h.
//
// Masks and labels are areas of one value each, so a row hardly differs from the row above. Deflate
// (RFC 1951, with its fixed codes) is therefore given matches one row back and one pixel back
// alone, found by comparing neighbouring rows instead of by a search. Linear in the pixels.
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
