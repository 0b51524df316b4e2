#include <pybind11/stl.h>

#include "bindings/device/registry.h"
#include "bindings/gil.h"
#include "cuda/device.h"
#include "cuda/mask.h"
#include "cuda/memory.h"
#include "cuda/stream.h"
#include "pipeline/flow.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

namespace py = pybind11;
namespace device = nucleiseg::NUCLEISEG_DEVICE;

constexpr const char* kDevices =
    R"(The devices that this process sees; none where there is no driver.

Returns
-------
list of dict
    ``name``: str; ``compute_capability``: (int, int); ``multiprocessors``: int; ``memory``: int,
    bytes; ``integrated``: bool, whether it shares the host's memory.
)";

py::list devices() {
  py::list found;
  for (int i = 0; i < device::device_count(); ++i) {
    const device::Device one = device::device(i);
    py::dict entry;
    entry["name"] = one.name;
    entry["compute_capability"] = py::make_tuple(one.major, one.minor);
    entry["multiprocessors"] = one.multiprocessors;
    entry["memory"] = one.memory_bytes;
    entry["integrated"] = one.integrated;
    found.append(entry);
  }
  return found;
}

// As CUDA counts: 13000 is 13.0.
py::tuple version(cudaError_t (*ask)(int*), const char* name) {
  int number = 0;
  device::check(ask(&number), name);
  return py::make_tuple(number / 1000, number % 1000 / 10);
}

void try_kernel() {
  const device::DeviceMemory maps(2);
  const device::DeviceMemory mask(1);
  const device::Stream stream;
  const auto* const pixel = static_cast<const uint8_t*>(maps.data());
  device::mask(pipeline::maps_view(pixel, {1, 1}), 0, static_cast<uint8_t*>(mask.data()),
               stream.handle());
  stream.synchronize();
}

}  // namespace

void register_all(py::module_& module) {
  register_buffers(module);
  register_pipeline(module);
#if defined(NUCLEISEG_WITH_TEST_BINDINGS)
  register_parts(module);
#endif
  module.def("device_count", device::device_count,
             "How many devices there are; 0 where there is no driver.");
  module.def("devices", devices, kDevices);
  module.def("current_device", device::current_device, "The calling thread's device.");
  module.def(
      "try_kernel", try_kernel, py::call_guard<GilReleased>(),
      "Run a kernel on the current device and wait; RuntimeError with the reason if it fails.");
  module.def("memory", device::memory, "Free and all bytes of the current device.");
  module.def(
      "runtime_version", [] { return version(cudaRuntimeGetVersion, "cudaRuntimeGetVersion"); },
      "(major, minor) of the CUDA runtime in this build.");
  module.def(
      "driver_version", [] { return version(cudaDriverGetVersion, "cudaDriverGetVersion"); },
      "(major, minor) of the newest CUDA that the driver knows; (0, 0) where there is none.");
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
