#include "cpu/network/network.h"

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/registry.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kStem =
    R"(The image's convolution at stride 2, then ReLU.

Parameters
----------
kernel : numpy.ndarray
    (outputs, 3, 3, 3) int8, as ONNX has it, padded by one pixel at the end; or (outputs, 3, 6, 6),
    padded by two on each side.
factors, offsets : numpy.ndarray
    (outputs,) float32: a sum's level is ``round(sum * factor + offset)``, from 0 to 127.
)";

constexpr const char* kConvolution =
    R"(A 3 x 3 convolution of one tensor or two, then ReLU.

Parameters
----------
sources : list of int
    One or two tensors of one size, whose convolutions are added up.
kernels : list of numpy.ndarray
    (outputs, inputs, 3, 3) int8, one a source.
factors, offsets : numpy.ndarray
    (outputs,) float32.
)";

constexpr const char* kGrow =
    R"(A transposed 2 x 2 convolution at stride 2; levels from -128 to 127.

Parameters
----------
source : int
kernel : numpy.ndarray
    (inputs, outputs, 2, 2) int8.
factors, offsets : numpy.ndarray
    (outputs,) float32.
)";

constexpr const char* kCells =
    R"(The last layer: 3 x 3, then the logistic function.

Parameters
----------
source : int
kernel : numpy.ndarray
    (8, inputs, 3, 3) int8.
factors, offsets : numpy.ndarray
    (8,) float32: a sum's logit is ``sum * factor + offset``.
)";

py::array int8_argument(const py::object& value) { return array_argument(value, "kernel", "int8"); }

network::Kernel kernel_argument(const py::array& kernel, bool transposed, int side) {
  const bool fits = kernel.ndim() == 4 && kernel.shape(2) == side && kernel.shape(3) == side;
  if (!fits || !is_dense_from(kernel, 0)) {
    fail_value(
        "kernel", shape_text(kernel),
        "is C-contiguous and ends with " + std::to_string(side) + " x " + std::to_string(side));
  }
  return {static_cast<const int8_t*>(kernel.data()), kernel.shape(transposed ? 0 : 1),
          kernel.shape(transposed ? 1 : 0), side};
}

// 6 x 6 if it is that, or else 3 x 3.
network::Kernel stem_argument(const py::array& kernel) {
  const bool large = kernel.ndim() == 4 && kernel.shape(3) == 6;
  return kernel_argument(kernel, false, large ? 6 : 3);
}

network::Rounding rounding_argument(const py::object& factors, const py::object& offsets) {
  return {floats_argument(factors, "factors"), floats_argument(offsets, "offsets")};
}

std::vector<int> tensors_argument(const py::sequence& sources) {
  try {
    return sources.cast<std::vector<int>>();
  } catch (const py::cast_error&) {
    throw py::type_error("sources: accepted are numbers of tensors");
  }
}

int add_convolution(network::Layers& network, const py::sequence& sources,
                    const py::sequence& kernels, const py::object& factors,
                    const py::object& offsets) {
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

constexpr const char* kNetwork = R"(The network in eight bits, on the CPU.

Layers are added one after the other; each gives the number of its tensor, by which later ones name
it. Sums are integers, and how they become bytes again is the same on every processor: so neither
`level` nor the number of threads shows in the result.

Parameters
----------
level : str, optional
    One of ``convolution_levels()``; the best when empty. The environment variable NUCLEISEG_SIMD names
    the best that there is, for the whole process.
)";

constexpr const char* kRunTiles = R"(Run the network.

Parameters
----------
tiles : numpy.ndarray
    (N, h, w, 3) uint8, C-contiguous; h and w are multiples of ``stride``.
threads : int
    How many threads work, 1 to 1024. The result does not depend on it.

Returns
-------
numpy.ndarray
    (N, h / 2, w / 2, 8) uint8: both maps of 2 x 2 pixels in raster order, 0..255 for 0..1.

Raises
------
TypeError
    If the dtype is another.
ValueError
    If the shape is another.
)";

py::array run(const cpu::Network& network, const py::object& tiles, int threads) {
  const py::array array = array_argument(tiles, "tiles", "uint8");
  check_tiles(array, network.stride());
  check_threads(threads);
  py::array_t<uint8_t> cells(
      std::vector<py::ssize_t>{array.shape(0), array.shape(1) / 2, array.shape(2) / 2, 8});
  auto* out = cells.mutable_data();
  const auto* in = static_cast<const uint8_t*>(array.data());
  const GilReleased release;
  network.run(in, array.shape(0), array.shape(1), array.shape(2), out, threads);
  return std::move(cells);
}

std::vector<std::string> convolution_levels() {
  std::vector<std::string> names;
  for (const cpu::Convolution* one : cpu::convolutions()) names.emplace_back(one->level);
  return names;
}

}  // namespace

void register_network(py::module_& module) {
  using network::Layers;
  using Floats = const py::object&;
  py::class_<Layers, std::shared_ptr<Layers>>(module, "Layers", "The layers of a network.")
      .def(
          "stem",
          [](Layers& network, const py::object& kernel, Floats factors, Floats offsets) {
            const py::array array = int8_argument(kernel);
            return network.stem(stem_argument(array), rounding_argument(factors, offsets));
          },
          py::arg("kernel"), py::arg("factors"), py::arg("offsets"), kStem)
      .def("convolution", add_convolution, py::arg("sources"), py::arg("kernels"),
           py::arg("factors"), py::arg("offsets"), kConvolution)
      .def(
          "grow",
          [](Layers& network, int source, const py::object& kernel, Floats factors,
             Floats offsets) {
            const py::array array = int8_argument(kernel);
            return network.grow(source, kernel_argument(array, true, 2),
                                rounding_argument(factors, offsets));
          },
          py::arg("source"), py::arg("kernel"), py::arg("factors"), py::arg("offsets"), kGrow)
      .def("pool", &Layers::pool, py::arg("source"), "The largest of each 2 x 2 pixels.")
      .def(
          "cells",
          [](Layers& network, int source, const py::object& kernel, Floats factors,
             Floats offsets) {
            const py::array array = int8_argument(kernel);
            network.cells(source, kernel_argument(array, false, 3),
                          rounding_argument(factors, offsets));
          },
          py::arg("source"), py::arg("kernel"), py::arg("factors"), py::arg("offsets"), kCells)
      .def_property_readonly("stride", &Layers::stride);
  using cpu::Network;
  py::class_<Network, Layers, std::shared_ptr<Network>>(module, "Network", kNetwork)
      .def(py::init<const std::string&>(), py::arg("level") = "")
      .def_property_readonly("level", &Network::level)
      .def("run", run, py::arg("tiles"), py::arg("threads") = 1, kRunTiles);
  module.def("convolution_levels", convolution_levels,
             "Instruction sets that `Network` can use on this CPU, weakest first.");
}

}  // namespace nucleiseg::bindings
