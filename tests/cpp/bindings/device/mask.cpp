#include "cuda/mask.h"

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "cpp/bindings/device/arrays.h"

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
    (H, W) bool, contiguous in its last axis; a new one where it is not given.

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
      output_buffer(out, "out", {view.height, view.width}, "bool", 1, *stream);
  check_apart(*result, *input, "maps");
  result->writer = stream;
  const GilReleased release;
  device::mask(view, level, static_cast<uint8_t*>(result->data), result->strides[0],
               stream->handle());
  return result;
}

}  // namespace

void register_mask(py::module_& module) {
  module.def("mask", mask, py::arg("maps"), py::arg("threshold"), py::kw_only(),
             py::arg("stream").none(false), py::arg("out") = py::none(), kMask);
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
