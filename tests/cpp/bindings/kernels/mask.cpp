// Compiled once for the CPU and once for each device.
#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "cpp/bindings/registry.h"

#if defined(NUCLEISEG_DEVICE)

#include "cpp/bindings/device/arrays.h"
#include "cuda/mask.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

constexpr const char* kMask = R"(Where the nucleus probability reaches the threshold.

As ``cpu.mask``, on the device. Does not wait.

Parameters
----------
maps : Buffer or anything with ``__cuda_array_interface__``
    (H, W, 2) uint8 with any strides.
threshold : int
    0..255.
stream : Stream
out : Buffer or anything with ``__cuda_array_interface__``, optional
    (H, W) bool, C-contiguous; a new one where it is not given.

Returns
-------
Buffer
    (H, W) bool.
)";

BufferPointer mask(const py::object& maps, int threshold, const StreamPointer& stream,
                   const py::object& out) {
  const BufferPointer input = buffer_argument(maps, "maps", *stream);
  const ImageView view = maps_view(maps_argument(outline(*input)));
  const uint8_t level = byte_argument(threshold, "threshold");
  const BufferPointer result =
      output_buffer(out, "out", {view.height, view.width}, "bool", 0, *stream);
  check_apart(*result, *input, "maps");
  const GilReleased release;
  device::mask(view, level, static_cast<uint8_t*>(result->data), stream->handle());
  return result;
}

const DeviceBinding kMaskBinding([](py::module_& module) {
  module.def("mask", mask, py::arg("maps"), py::arg("threshold"), py::kw_only(),
             py::arg("stream").none(false), py::arg("out") = py::none(), kMask);
});

}  // namespace
}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE

#else

#include "cpu/label/label.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kMask = R"(Where the nucleus probability reaches the threshold.

Parameters
----------
maps : numpy.ndarray
    (H, W, 2) uint8 with any strides: nucleus probability and centre distance, 255 is 1.
threshold : int
    0..255; a pixel is nucleus where ``maps[..., 0] >= threshold``.
threads : int
    How many threads work, 1 to 1024. The result does not depend on it.
out : numpy.ndarray, optional
    (H, W) bool, writable, contiguous in its last axis, to write into.

Returns
-------
numpy.ndarray
    (H, W) bool. This is `out` where that was given.

Raises
------
TypeError
    If a dtype is not accepted.
ValueError
    If the maps are empty, a shape or the threshold is wrong, or `out` cannot be written.
)";

py::array mask_output(const py::object& out, const py::array& maps) {
  if (out.is_none()) return py::array_t<bool>({maps.shape(0), maps.shape(1)});
  py::array array = output_argument(out, "out", "bool");
  const bool fits =
      array.ndim() == 2 && array.shape(0) == maps.shape(0) && array.shape(1) == maps.shape(1);
  if (!fits || !is_dense_from(array, 1)) {
    fail_value("out", shape_text(array) + (fits ? ", not contiguous in its last axis" : ""),
               "is (" + std::to_string(maps.shape(0)) + ", " + std::to_string(maps.shape(1)) +
                   ") contiguous in its last axis");
  }
  check_apart(array, maps, "maps");
  return array;
}

py::array mask(const py::object& maps, int threshold, int threads, const py::object& out) {
  const py::array array = maps_argument(maps);
  check_memory(array, "maps");
  const uint8_t level = byte_argument(threshold, "threshold");
  check_threads(threads);
  py::array result = mask_output(out, array);
  auto* bytes = static_cast<uint8_t*>(result.mutable_data());
  const py::ssize_t stride = result.strides(0);
  const cpu::ImageView view = maps_view(array);
  const GilReleased release;
  cpu::mask(view, level, bytes, stride, threads);
  return result;
}

const CpuBinding kMaskBinding([](py::module_& module) {
  module.def("mask", mask, py::arg("maps"), py::arg("threshold"), py::arg("threads") = 1,
             py::arg("out") = py::none(), kMask);
});

}  // namespace
}  // namespace nucleiseg::bindings

#endif
