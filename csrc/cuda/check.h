// Every call of the CUDA runtime goes through NUCLEISEG_CHECK, which throws with the reason.
//
// The sources here are compiled twice: with NVIDIA's compiler and headers into
// nucleiseg::cuda, and as C++ with tests/cpp/emulation in front of the include path into
// nucleiseg::emulated. NUCLEISEG_DEVICE is the name of the namespace.
#pragma once

#include <cuda_runtime.h>

#ifndef NUCLEISEG_DEVICE
#error "NUCLEISEG_DEVICE is the namespace that this file is compiled into: cuda or emulated"
#endif

namespace nucleiseg::NUCLEISEG_DEVICE {

// Throws std::runtime_error: what was called, and what came of it.
[[noreturn]] void fail(cudaError_t error, const char* call);

inline void check(cudaError_t error, const char* call) {
  if (error != cudaSuccess) fail(error, call);
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE

#define NUCLEISEG_CHECK(call) ::nucleiseg::NUCLEISEG_DEVICE::check((call), #call)
