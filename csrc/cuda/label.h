// Nuclei from the network's two maps: the launches for csrc/kernels/label.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/check.h"
#include "kernels/label.h"
#include "nucleiseg/image.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

size_t label_workspace(int64_t height, int64_t width);

// Writes (height, width) ids to `labels` and how many there are to `count`, both in device memory.
// The maps have fewer than 2**31 pixels. Does not wait. `workspace` is as large as
// label_workspace() says, begins at a multiple of 16 bytes and is free again when the stream has
// come past.
void label(const ImageView& maps, const kernels::LabelRule& rule, int32_t* labels, int32_t* count,
           void* workspace, cudaStream_t stream);

}  // namespace nucleiseg::NUCLEISEG_DEVICE
