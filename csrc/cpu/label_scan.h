// The first pass over a strip: see csrc/cpu/label.cpp.
#pragma once

#include "cpu/forest.h"
#include "cpu/image.h"
#include "cpu/label.h"
#include "cpu/strip.h"

namespace nucleiseg::cpu {

void scan_strip(const ImageView& maps, const LabelRule& rule, Forest forest, Strip& strip);

}  // namespace nucleiseg::cpu
