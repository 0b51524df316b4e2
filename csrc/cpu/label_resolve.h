// From pieces to nuclei: see csrc/cpu/label.cpp.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/forest.h"
#include "cpu/image.h"
#include "cpu/strip.h"

namespace nucleiseg::cpu {

// Unites what the seams part and points each zone to the first of its exits; a zone without one
// becomes a summit.
void close_zones(const std::vector<Strip>& strips, Forest forest);

// Makes a core with fewer than `min_core` pixels a summit.
void drop_small_cores(std::vector<Strip>& strips, int64_t min_core, Forest forest);

// Finds the core that each of the strip's pieces reaches; those that reach none become sets of
// their own.
void resolve_strip(int32_t width, Forest forest, Strip& strip);

// Makes the coreless sets whole across the seams.
void close_coreless(const std::vector<Strip>& strips, int32_t width, Forest forest);

// Finds the best gate of each of the strip's coreless pieces: see kernels::gate_key. Notes the peak
// of each.
void find_gates(const ImageView& maps, Forest forest, Strip& strip);

// Joins each coreless set to the nucleus at its best gate; one without a gate becomes a nucleus of
// its own.
void join_nuclei(const ImageView& maps, Forest forest, std::vector<Strip>& strips);

}  // namespace nucleiseg::cpu
