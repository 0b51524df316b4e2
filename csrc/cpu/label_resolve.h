// From pieces to nuclei: see csrc/cpu/label.cpp.
#pragma once

#include <vector>

#include "cpu/forest.h"
#include "cpu/strip.h"

namespace nucleiseg::cpu {

// Unites what the seams part and points each zone to the first of its exits; a zone without one
// becomes a summit.
void close_zones(const std::vector<Strip>& strips, Forest forest);

// Finds the core that each of the strip's pieces reaches; those that reach none become sets of
// their own.
void resolve_strip(int32_t width, Forest forest, Strip& strip);

// Makes the coreless sets whole across the seams, and nuclei like the others.
void close_coreless(std::vector<Strip>& strips, int32_t width, Forest forest);

}  // namespace nucleiseg::cpu
