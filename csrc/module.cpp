#include "bindings/registry.h"

PYBIND11_MODULE(_native, module) {
  using namespace nucleiseg::bindings;
  module.doc() = "Kernels before and after the network.";
  auto cpu = module.def_submodule("cpu", "The kernels on the CPU: NumPy arrays in and out.");
  register_features(cpu);
  register_label(cpu);
  register_mask(cpu);
  register_normalize(cpu);
  register_tiles(cpu);
}
