// The layers of the integer network as Python adds them, on every device.
#pragma once

#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "network/layers.h"

namespace nucleiseg::bindings {

network::Kernel kernel_argument(const py::array& kernel, bool transposed, int side);
// 6 x 6 if it is that, or else 3 x 3.
network::Kernel stem_argument(const py::array& kernel);
network::Rounding rounding_argument(const py::object& factors, const py::object& offsets);
py::array int8_argument(const py::object& value);
std::vector<int> tensors_argument(const py::sequence& sources);
// (N, h, w, 3) uint8 without gaps, whose sides are multiples of the stride.
void check_tiles(const py::array& tiles, int64_t stride);

extern const char* const kStem;
extern const char* const kConvolution;
extern const char* const kGrow;
extern const char* const kCells;

template <class Network>
int add_convolution(Network& network, const py::sequence& sources, const py::sequence& kernels,
                    const py::object& factors, const py::object& offsets) {
  constexpr size_t kMost = 2;
  if (sources.size() > kMost || kernels.size() > kMost) {
    fail_value("sources, kernels", std::to_string(std::max(sources.size(), kernels.size())),
               "are one or two of each");
  }
  std::vector<py::array> arrays;
  std::vector<network::Kernel> views;
  for (const py::object kernel : kernels) {  // which a sequence may make anew
    arrays.push_back(int8_argument(kernel));
    views.push_back(kernel_argument(arrays.back(), false, 3));
  }
  return network.convolution(tensors_argument(sources), views, rounding_argument(factors, offsets));
}

// Adds the methods that add layers.
template <class Network, class... Options>
void add_layers(py::class_<Network, Options...>& bound) {
  using Floats = const py::object&;
  bound
      .def(
          "stem",
          [](Network& network, const py::object& kernel, Floats factors, Floats offsets) {
            const py::array array = int8_argument(kernel);
            return network.stem(stem_argument(array), rounding_argument(factors, offsets));
          },
          py::arg("kernel"), py::arg("factors"), py::arg("offsets"), kStem)
      .def("convolution", add_convolution<Network>, py::arg("sources"), py::arg("kernels"),
           py::arg("factors"), py::arg("offsets"), kConvolution)
      .def(
          "grow",
          [](Network& network, int source, const py::object& kernel, Floats factors,
             Floats offsets) {
            const py::array array = int8_argument(kernel);
            return network.grow(source, kernel_argument(array, true, 2),
                                rounding_argument(factors, offsets));
          },
          py::arg("source"), py::arg("kernel"), py::arg("factors"), py::arg("offsets"), kGrow)
      .def("pool", &Network::pool, py::arg("source"), "The largest of each 2 x 2 pixels.")
      .def(
          "cells",
          [](Network& network, int source, const py::object& kernel, Floats factors,
             Floats offsets) {
            const py::array array = int8_argument(kernel);
            network.cells(source, kernel_argument(array, false, 3),
                          rounding_argument(factors, offsets));
          },
          py::arg("source"), py::arg("kernel"), py::arg("factors"), py::arg("offsets"), kCells)
      .def_property_readonly("stride", &Network::stride)
      .def_property_readonly("level", &Network::level);
}

}  // namespace nucleiseg::bindings
