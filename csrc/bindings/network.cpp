#include "cpu/network/network.h"

#include "bindings/gil.h"
#include "bindings/network_layers.h"
#include "bindings/registry.h"

namespace nucleiseg::bindings {
namespace {

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

constexpr const char* kRun = R"(Run the network.

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
  using cpu::Network;
  py::class_<Network, std::shared_ptr<Network>> bound(module, "Network", kNetwork);
  bound.def(py::init<const std::string&>(), py::arg("level") = "");
  add_layers(bound);
  bound.def("run", run, py::arg("tiles"), py::arg("threads") = 1, kRun);
  module.def("convolution_levels", convolution_levels,
             "Instruction sets that `Network` can use on this CPU, weakest first.");
}

}  // namespace nucleiseg::bindings
