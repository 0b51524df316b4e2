#include <pybind11/pybind11.h>

#include <memory>
#include <stdexcept>

#include "bindings/gil.h"
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

constexpr const char* kCall =
    R"(Put a Python function into a stream: it is called when the stream gets there.

Called again whenever a graph is launched that captured it. What it raises is reported as unraisable,
as nobody may be waiting.

Parameters
----------
function : callable
    Without arguments. It must not use the emulated device.
stream : Stream
)";

// Waits for the machine without the interpreter, which a function in its queues may want.
void lock_without_interpreter(std::recursive_mutex& mutex) {
  if (!PyGILState_Check()) return mutex.lock();
  const GilReleased release;
  mutex.lock();
}

// The streams' threads destroy it, which may not hold the interpreter.
std::shared_ptr<py::function> kept(const py::function& function) {
  return {new py::function(function), [](py::function* held) {
            const py::gil_scoped_acquire acquire;
            delete held;
          }};
}

void call(const py::function& function, const py::object& stream) {
  const auto handle = stream.attr("handle").cast<uintptr_t>();
  const auto work = [held = kept(function)] {
    const py::gil_scoped_acquire acquire;
    try {
      (*held)();
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable(*held);
    }
  };
  const auto error = emulation::enqueue(reinterpret_cast<emulation::Stream*>(handle), work);
  if (error != emulation::cudaSuccess) {
    throw std::runtime_error(emulation::cudaGetErrorString(error));
  }
}

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
  emulation::set_blocking(lock_without_interpreter);
  module.def("call", call, py::arg("function"), py::kw_only(), py::arg("stream").none(false),
             kCall);
  module.def("set_seed", emulation::set_seed, py::arg("seed"),
             "Draw the orders in which the threads of each launch run from another seed.");
  module.def("set_device_properties", emulation::set_device, py::arg("memory"),
             py::arg("integrated"), kSetDevice);
  module.def("usage", usage, kUsage);
  module.def("copies", emulation::copies,
             "How many copies of memory were asked for so far, in captures too.");
}

}  // namespace nucleiseg::bindings
