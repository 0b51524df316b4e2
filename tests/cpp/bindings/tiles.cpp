#include "cpu/tiles/tiles.h"

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "cpp/bindings/registry.h"
#include "cpp/bindings/tile_arguments.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kGather = R"(Cut tiles out of an image, reflecting it at its border.

Parameters
----------
image : numpy.ndarray
    (H, W, 3) uint8, contiguous in its last two axes.
origins : numpy.ndarray
    (N, 2) int32 or int64: (row, column) of each tile's top-left pixel in the image's coordinates,
    which may lie outside the image at any distance.
height, width : int
    Pixels of a tile.
threads : int
    How many threads work, 1 to 1024. The result does not depend on it.
out : numpy.ndarray, optional
    (N, height, width, 3) uint8, writable and C-contiguous, to write into.

Returns
-------
numpy.ndarray
    (N, height, width, 3) uint8. Outside the image it continues like NumPy's ``mode="reflect"``.
    This is `out` where that was given.

Raises
------
TypeError
    If a dtype is not accepted.
ValueError
    If the image is empty, a shape or size is wrong, or `out` cannot be written.
)";

constexpr const char* kAssemble =
    R"(Put the network's answers for tiles back into one pair of maps, without the halos.

Parameters
----------
cells : numpy.ndarray
    (N, h, w, 8) uint8: for each 2 x 2 pixels of each tile both maps of the four pixels, in raster
    order. A tile is 2 h x 2 w pixels.
origins : numpy.ndarray
    (N, 2) int32 or int64: (row, column) of each tile's top-left pixel in the coordinates of `out`.
cores : numpy.ndarray
    (N, 4) int32 or int64: (row0, row1, col0, col1) of the half-open rectangle that is kept of each
    tile, in the coordinates of `out`.
out : numpy.ndarray
    (H, W, 2) uint8, writable, contiguous in its last two axes. Pixels in no core stay as they are;
    where cores overlap, the later tile counts.
threads : int
    How many threads work, 1 to 1024. The result does not depend on it.

Returns
-------
numpy.ndarray
    `out`.

Raises
------
TypeError
    If a dtype is not accepted.
ValueError
    If a shape is wrong, a core is not inside its tile and `out`, or `out` cannot be written.
)";

py::array tiles_output(const py::object& out, const py::array& image, int64_t count, int64_t height,
                       int64_t width) {
  const std::vector<int64_t> shape = {count, height, width, cpu::kImageChannels};
  if (out.is_none()) return py::array_t<uint8_t>(shape);
  py::array array = output_argument(out, "out", "uint8");
  const bool fits = array.ndim() == 4 && std::equal(shape.begin(), shape.end(), array.shape());
  if (!fits || !is_dense_from(array, 0)) {
    fail_value("out", shape_text(array) + (fits ? ", not C-contiguous" : ""),
               "is C-contiguous (" + std::to_string(count) + ", " + std::to_string(height) + ", " +
                   std::to_string(width) + ", 3)");
  }
  check_apart(array, image, "image");
  return array;
}

py::array gather(const py::object& image, const py::object& origins, int64_t height, int64_t width,
                 int threads, const py::object& out) {
  const py::array array = rgb_argument(image);
  const std::vector<cpu::Point> corners = points_argument(origins, "origins");
  check_side(height, "height");
  check_side(width, "width");
  check_threads(threads);
  check_bytes({static_cast<int64_t>(corners.size()), height, width, cpu::kImageChannels},
              "height, width");
  py::array tiles = tiles_output(out, array, static_cast<int64_t>(corners.size()), height, width);
  auto* bytes = static_cast<uint8_t*>(tiles.mutable_data());
  const cpu::Plane<const uint8_t> source = {static_cast<const uint8_t*>(array.data()),
                                            array.shape(0), array.shape(1), array.strides(0)};
  const GilReleased release;
  cpu::gather(source, corners, height, width, bytes, threads);
  return tiles;
}

py::array dense_cells(const py::object& value) {
  py::array cells = tile_cells_argument(value);
  check_memory(cells, "cells");
  if (is_dense_from(cells, 2)) return cells;
  return dense_array<uint8_t>(cells);
}

py::array assemble(const py::object& cells, const py::object& origins, const py::object& cores,
                   const py::object& out, int threads) {
  const py::array tiles = dense_cells(cells);
  const std::vector<cpu::Point> places = points_argument(origins, "origins");
  check_count(places.size(), tiles, "origins");
  const std::vector<cpu::Rectangle> kept = rectangles_argument(cores, "cores");
  check_count(kept.size(), tiles, "cores");
  py::array result = output_argument(out, "out", "uint8");
  const cpu::Plane<uint8_t> target = maps_output(result);
  check_apart(result, tiles, "cells");
  check_threads(threads);
  check_inside(kept, places, tiles, target);
  std::vector<cpu::Cells> sources;
  for (py::ssize_t i = 0; i < tiles.shape(0); ++i) {
    sources.push_back(
        {static_cast<const uint8_t*>(tiles.data()) + i * tiles.strides(0), tiles.strides(1)});
  }
  const GilReleased release;
  cpu::assemble(sources, places, kept, target, threads);
  return result;
}

const CpuBinding kTilesBinding([](py::module_& module) {
  module.def("gather", gather, py::arg("image"), py::arg("origins"), py::arg("height"),
             py::arg("width"), py::arg("threads") = 1, py::arg("out") = py::none(), kGather);
  module.def("assemble", assemble, py::arg("cells"), py::arg("origins"), py::arg("cores"),
             py::arg("out"), py::arg("threads") = 1, kAssemble);
});

}  // namespace
}  // namespace nucleiseg::bindings
