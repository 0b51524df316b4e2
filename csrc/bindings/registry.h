// What each file of csrc/bindings adds to the Python module.
#pragma once

#include <pybind11/pybind11.h>

namespace nucleiseg::bindings {

void register_csv(pybind11::module_& module);
void register_features(pybind11::module_& module);
void register_label(pybind11::module_& module);
void register_measure(pybind11::module_& module);
void register_network(pybind11::module_& module);
void register_normalize(pybind11::module_& module);
void register_outline(pybind11::module_& module);
void register_pipeline(pybind11::module_& module);
void register_resize(pybind11::module_& module);

}  // namespace nucleiseg::bindings
