// The one operation that a library does: a running sum. csrc/cuda/scan.cu asks CUB,
// tests/cpp/emulation/scan.cpp is its twin.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/check.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

size_t running_sum_workspace(int32_t count);

// sums[i] becomes flags[0] + ... + flags[i - 1]. Does not wait.
void running_sum(const uint8_t* flags, int32_t* sums, int32_t count, void* workspace,
                 size_t workspace_bytes, cudaStream_t stream);

}  // namespace nucleiseg::NUCLEISEG_DEVICE
