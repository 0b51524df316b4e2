// Kernels and steps by themselves, as the tests call them: in builds with NUCLEISEG_TEST_BINDINGS.
#pragma once

#include <pybind11/pybind11.h>

namespace nucleiseg::bindings {

void register_label_bands(pybind11::module_& module);
void register_mask(pybind11::module_& module);
void register_own_size(pybind11::module_& module);
void register_tiles(pybind11::module_& module);

// All of the above.
void register_parts(pybind11::module_& module);

}  // namespace nucleiseg::bindings
