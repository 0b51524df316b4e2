#include "cuda/check.h"

#include <cstring>
#include <stdexcept>
#include <string>

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string reason(cudaError_t error) {
  if (error == cudaErrorNoDevice) return "no CUDA device is visible to this process";
  if (error == cudaErrorInsufficientDriver) {
    int runtime = 0;
    cudaRuntimeGetVersion(&runtime);
    return "there is no NVIDIA driver, or one too old for CUDA " + version_text(runtime) +
           ", which this build needs";
  }
  return cudaGetErrorString(error);
}

}  // namespace

void fail(cudaError_t error, const char* call) {
  cudaGetLastError();  // else the next launch would report this error again
  const std::string name(call, std::strcspn(call, "("));
  throw std::runtime_error("CUDA: " + reason(error) + " (" + cudaGetErrorName(error) + " from " +
                           name + ")");
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
