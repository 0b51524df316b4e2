#include "cuda/network.h"

#include "bindings/device/registry.h"
#include "bindings/network_layers.h"
#if defined(NUCLEISEG_WITH_TEST_BINDINGS)
#include "cpp/bindings/device/arrays.h"
#endif

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

namespace device = nucleiseg::NUCLEISEG_DEVICE;

constexpr const char* kNetwork = R"(The network in eight bits, on the current device.

Layers are added as to ``cpu.Network``, whose bytes it gives.

Parameters
----------
level : str, optional
    One of ``convolution_levels()``; the best when empty.
)";

}  // namespace

void register_network(py::module_& module) {
  using device::Network;
  py::class_<Network, std::shared_ptr<Network>> bound(module, "Network", kNetwork);
  bound.def(py::init<const std::string&>(), py::arg("level") = "");
  add_layers(bound);
#if defined(NUCLEISEG_WITH_TEST_BINDINGS)
  add_test_methods(bound);
#endif
  module.def("convolution_levels", device::convolution_levels,
             "Ways in which `Network` can add up products, slowest first.");
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
