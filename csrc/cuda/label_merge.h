// Merges basins that are one nucleus: csrc/kernels/merge.h.
#pragma once

#include "cuda/label_scene.h"

namespace nucleiseg::NUCLEISEG_DEVICE::watershed {

// After the rounds in which basins join. `moments` has room for one of each square, and is what it
// is before.
void merge_basins(Scene scene, kernels::Moments* moments, cudaStream_t stream);

}  // namespace nucleiseg::NUCLEISEG_DEVICE::watershed
