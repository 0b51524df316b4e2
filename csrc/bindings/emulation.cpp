#include <pybind11/pybind11.h>

#include <stdexcept>

#include "bindings/registry.h"
#include "emulation/machine.h"

namespace nucleiseg::bindings {
namespace {

namespace py = pybind11;

constexpr const char* kUsage = R"(What has been made and not yet given back.

Returns
-------
dict
    ``device_bytes``, ``pinned_bytes``, ``streams``, ``events`` and ``graphs``: int.
)";

constexpr const char* kSetDevice = R"(Make the emulated device another one.

Parameters
----------
memory : int
    Its bytes of memory.
integrated : bool
    Whether it says that it shares the host's memory.
)";

py::dict usage() {
  const emulation::Usage found = emulation::usage();
  py::dict counts;
  counts["device_bytes"] = found.device_bytes;
  counts["pinned_bytes"] = found.pinned_bytes;
  counts["streams"] = found.streams;
  counts["events"] = found.events;
  counts["graphs"] = found.graphs;
  return counts;
}

}  // namespace

void register_emulation(py::module_& module) {
  module.def("set_seed", emulation::set_seed, py::arg("seed"),
             "Draw the orders in which the threads of each launch run from another seed.");
  module.def("set_device_properties", emulation::set_device, py::arg("memory"),
             py::arg("integrated"), kSetDevice);
  module.def("usage", usage, kUsage);
}

}  // namespace nucleiseg::bindings
