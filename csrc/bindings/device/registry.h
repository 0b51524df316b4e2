// What each file of csrc/bindings/device adds to a device's Python module.
#pragma once

#include <pybind11/pybind11.h>

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {

void register_buffers(pybind11::module_& module);
void register_pipeline(pybind11::module_& module);
// Of tests/cpp/bindings, in builds for the tests.
void register_parts(pybind11::module_& module);

// All of the above, and what devices there are.
void register_all(pybind11::module_& module);

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
