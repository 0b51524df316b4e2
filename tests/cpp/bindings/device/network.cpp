#include "cuda/network.h"

#include <pybind11/stl.h>

#include <array>

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "cpp/bindings/device/arrays.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

constexpr const char* kRun = R"(Run the network. Does not wait.

Parameters
----------
tiles : Buffer or anything with ``__cuda_array_interface__``
    (N, h, w, 3) uint8, C-contiguous, at a multiple of 16 bytes; h and w are multiples of
    ``stride``.
stream : Stream
    It may be captured into a graph, where `out` and `workspace` are given.
out : Buffer or anything with ``__cuda_array_interface__``, optional
    (N, h / 2, w / 2, 8) uint8, C-contiguous, at a multiple of 16 bytes; a new one where it is not
    given.
workspace : Buffer, optional
    Of at least ``workspace(N, h, w)`` bytes; a new one where it is not given.
only : int, optional
    A layer that runs alone, on what an earlier run has left in `workspace`: to time it.

Returns
-------
Buffer
    (N, h / 2, w / 2, 8) uint8: both maps of 2 x 2 pixels in raster order, 0..255 for 0..1.
)";

constexpr const char* kEnqueue = R"(Put the network into a stream, by addresses. Does not wait.

Parameters
----------
tiles, cells : int
    Of (N, h, w, 3) and (N, h / 2, w / 2, 8) uint8 on the device, at multiples of 16 bytes.
shape : tuple of int
    N, h, w; h and w are multiples of ``stride``.
stream : int
    A ``cudaStream_t``.
memory : callable
    Returns the address of so many bytes on the device.
)";

void check_aligned(const Array& array, const char* name) {
  constexpr size_t kAlignment = 16;
  if (reinterpret_cast<uintptr_t>(array.data) % kAlignment != 0) {
    fail_value(name, "an array at another address", "is one at a multiple of 16 bytes");
  }
}

int layer_argument(const device::Network& network, const py::object& only) {
  if (only.is_none()) return -1;
  const auto layer = only.cast<int>();
  const auto count = static_cast<int>(network.layers().size());
  if (layer < 0 || layer >= count) {
    fail_value("only", std::to_string(layer), "is a layer below " + std::to_string(count));
  }
  return layer;
}

BufferPointer run(const device::Network& network, const py::object& tiles,
                  const StreamPointer& stream, const py::object& out, const py::object& workspace,
                  const py::object& only) {
  const BufferPointer input = buffer_argument(tiles, "tiles", *stream);
  const py::array shape = array_argument(outline(*input), "tiles", "uint8");
  check_tiles(shape, network.stride());
  check_aligned(*input, "tiles");
  const int64_t count = shape.shape(0);
  const int64_t height = shape.shape(1);
  const int64_t width = shape.shape(2);
  const BufferPointer cells =
      output_buffer(out, "out", {count, height / 2, width / 2, 8}, "uint8", 0, *stream);
  check_aligned(*cells, "out");
  check_apart(*cells, *input, "tiles");
  const size_t bytes = network.workspace(count, height, width);
  const BufferPointer memory =
      workspace.is_none() ? make_buffer({static_cast<py::ssize_t>(bytes)}, py::dtype("uint8"))
                          : workspace_argument(workspace, bytes, *stream);
  const int layer = layer_argument(network, only);
  const GilReleased release;
  network.run(static_cast<const uint8_t*>(input->data), count, height, width,
              static_cast<uint8_t*>(cells->data), memory->data, stream->handle(), layer);
  return cells;
}

void enqueue(const device::Network& network, uintptr_t tiles, uintptr_t cells,
             const std::array<int64_t, 3>& shape, uintptr_t stream, const py::function& memory) {
  const auto [count, height, width] = shape;
  const int64_t stride = network.stride();
  if (count < 1 || height < 1 || width < 1 || height % stride != 0 || width % stride != 0) {
    fail_value("shape", py::str(py::cast(shape)).cast<std::string>(),
               "is (N, h, w), with h and w multiples of " + std::to_string(stride));
  }
  const auto workspace = memory(network.workspace(count, height, width)).cast<uintptr_t>();
  const GilReleased release;
  network.run(reinterpret_cast<const uint8_t*>(tiles), count, height, width,
              reinterpret_cast<uint8_t*>(cells), reinterpret_cast<void*>(workspace),
              reinterpret_cast<cudaStream_t>(stream));
}

}  // namespace

void add_test_methods(NetworkClass& bound) {
  using device::Network;
  bound
      .def_property_readonly("layers", &Network::layers,
                             "What each layer does: channels in and out, and its resolution.")
      .def("workspace", &Network::workspace, py::arg("count"), py::arg("height"), py::arg("width"),
           "Bytes of device memory that a run on tiles of this shape needs.")
      .def("run", run, py::arg("tiles"), py::kw_only(), py::arg("stream").none(false),
           py::arg("out") = py::none(), py::arg("workspace") = py::none(),
           py::arg("only") = py::none(), kRun)
      .def("enqueue", enqueue, py::arg("tiles"), py::arg("cells"), py::arg("shape"),
           py::arg("stream"), py::arg("memory"), kEnqueue);
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
