#include "cuda/tiles.h"

#include "bindings/gil.h"
#include "cpp/bindings/device/arrays.h"
#include "cpp/bindings/tile_arguments.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

constexpr const char* kGather = R"(Cut tiles out of an image, reflecting it at its border.

As ``cpu.gather``, on the device. Does not wait.

Parameters
----------
image : Buffer or anything with ``__cuda_array_interface__``
    (H, W, 3) uint8, contiguous in its last two axes.
origins : numpy.ndarray
    (N, 2) int32 or int64 on the host: see ``cpu.gather``.
height, width : int
    Pixels of a tile.
stream : Stream
out : Buffer or anything with ``__cuda_array_interface__``, optional
    C-contiguous, of the shape and dtype that is returned; a new one where it is not given.

Returns
-------
Buffer
    (N, height, width, 3) uint8.
)";

constexpr const char* kAssemble =
    R"(Put the network's answers for tiles back into one pair of maps, without the halos.

As ``cpu.assemble``, on the device. Does not wait.

Parameters
----------
cells : Buffer or anything with ``__cuda_array_interface__``
    (N, h, w, 8) uint8, C-contiguous: see ``cpu.assemble``.
origins, cores : numpy.ndarray
    (N, 2) and (N, 4) int32 or int64 on the host: see ``cpu.assemble``. No two cores overlap.
out : Buffer or anything with ``__cuda_array_interface__``
    (H, W, 2) uint8, contiguous in its last two axes.
stream : Stream

Returns
-------
`out`.
)";

BufferPointer gather(const py::object& image, const py::object& origins, int64_t height,
                     int64_t width, const StreamPointer& stream, const py::object& out) {
  const BufferPointer input = buffer_argument(image, "image", *stream);
  const py::array array = rgb_argument(outline(*input));
  const std::vector<kernels::Point> corners = points_argument(origins, "origins");
  check_side(height, "height");
  check_side(width, "width");
  const auto count = static_cast<py::ssize_t>(corners.size());
  const Sizes shape = {count, height, width, kernels::kImageChannels};
  check_bytes({count, height, width, kernels::kImageChannels}, "height, width");
  const BufferPointer tiles = output_buffer(out, "out", shape, "uint8", 0, *stream);
  check_apart(*tiles, *input, "image");
  const kernels::Plane<const uint8_t> source = {static_cast<const uint8_t*>(input->data),
                                                array.shape(0), array.shape(1), array.strides(0)};
  const GilReleased release;
  device::gather(source, corners, height, width, static_cast<uint8_t*>(tiles->data),
                 stream->handle());
  return tiles;
}

py::object assemble(const py::object& cells, const py::object& origins, const py::object& cores,
                    const py::object& out, const StreamPointer& stream) {
  const BufferPointer input = buffer_argument(cells, "cells", *stream);
  const py::array tiles = tile_cells_argument(outline(*input));
  if (!input->is_dense()) fail_value("cells", "an array with gaps", "is a C-contiguous one");
  const std::vector<kernels::Point> places = points_argument(origins, "origins");
  check_count(places.size(), tiles, "origins");
  const std::vector<kernels::Rectangle> kept = rectangles_argument(cores, "cores");
  check_count(kept.size(), tiles, "cores");
  const BufferPointer result = buffer_argument(out, "out", *stream);
  const py::array maps = output_argument(outline(*result), "out", "uint8");
  const kernels::Plane<uint8_t> target = maps_output(maps);
  check_apart(*result, *input, "cells");
  check_inside(kept, places, tiles, target);
  const device::Cells source = {static_cast<const uint8_t*>(input->data), tiles.shape(1),
                                tiles.shape(2)};
  const GilReleased release;
  device::assemble(source, places, kept, target, stream->handle());
  return out;
}

const DeviceBinding kTilesBinding([](py::module_& module) {
  module.def("gather", gather, py::arg("image"), py::arg("origins"), py::arg("height"),
             py::arg("width"), py::kw_only(), py::arg("stream").none(false),
             py::arg("out") = py::none(), kGather);
  module.def("assemble", assemble, py::arg("cells"), py::arg("origins"), py::arg("cores"),
             py::arg("out"), py::kw_only(), py::arg("stream").none(false), kAssemble);
});

}  // namespace
}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
