#include "bindings/registry.h"

// The sources of csrc/cuda and csrc/bindings/device are compiled once for each device.
#if defined(NUCLEISEG_WITH_CUDA)
namespace nucleiseg::bindings::cuda {
void register_all(pybind11::module_& module);
}
#endif
#if defined(NUCLEISEG_WITH_EMULATION)
namespace nucleiseg::bindings::emulated {
void register_all(pybind11::module_& module);
}
#endif

// What tests/cpp adds.
namespace nucleiseg::bindings {
void register_parts(pybind11::module_& module);
void register_emulation(pybind11::module_& module);
}  // namespace nucleiseg::bindings

PYBIND11_MODULE(_native, module) {
  using namespace nucleiseg::bindings;
  module.doc() = "Kernels before and after the network.";
  auto cpu = module.def_submodule("cpu", "The kernels on the CPU: NumPy arrays in and out.");
  register_csv(cpu);
  register_features(cpu);
  register_label(cpu);
  register_measure(cpu);
  register_network(cpu);
  register_normalize(cpu);
  register_outline(cpu);
  register_pipeline(cpu);
  register_resize(cpu);
#if defined(NUCLEISEG_WITH_TEST_BINDINGS)
  register_parts(cpu);
#endif
#if defined(NUCLEISEG_WITH_CUDA)
  auto cuda = module.def_submodule("cuda", "The kernels on a GPU: arrays in its memory.");
  cuda::register_all(cuda);
#endif
#if defined(NUCLEISEG_WITH_EMULATION)
  auto emulated = module.def_submodule(
      "emulated", "The kernels of a GPU, compiled for the CPU, for tests: the host's memory.");
  emulated::register_all(emulated);
  register_emulation(emulated);
#endif
}
