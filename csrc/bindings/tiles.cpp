#include "cpu/tiles.h"

#include "bindings/arguments.h"
#include "bindings/registry.h"

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
    How many threads work, 1 or more. The result does not depend on it.
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
    How many threads work, 1 or more. The result does not depend on it.

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

py::array rgb_argument(const py::object& value) {
  py::array image = array_argument(value, "image", "uint8");
  if (image.ndim() != 3 || image.shape(2) != cpu::kImageChannels) {
    fail_value("image", shape_text(image), "is (H, W, 3)");
  }
  check_not_empty(image, "image");
  if (!is_dense_from(image, 1)) {
    fail_value("image", "an array with gaps in its rows", "is one contiguous in its last two axes");
  }
  return image;
}

std::vector<cpu::Point> points(const std::vector<int64_t>& table) {
  std::vector<cpu::Point> found;
  for (size_t i = 0; i < table.size(); i += 2) found.push_back({table[i], table[i + 1]});
  return found;
}

void check_size(int64_t value, const char* name) {
  if (value < 1) fail_value(name, std::to_string(value), "is 1 or more");
}

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
  const std::vector<cpu::Point> corners = points(integer_table(origins, "origins", 2));
  check_size(height, "height");
  check_size(width, "width");
  check_threads(threads);
  py::array tiles = tiles_output(out, array, static_cast<int64_t>(corners.size()), height, width);
  auto* bytes = static_cast<uint8_t*>(tiles.mutable_data());
  const cpu::Plane<const uint8_t> source = {static_cast<const uint8_t*>(array.data()),
                                            array.shape(0), array.shape(1), array.strides(0)};
  const py::gil_scoped_release release;
  cpu::gather(source, corners, height, width, bytes, threads);
  return tiles;
}

py::array cells_argument(const py::object& value) {
  py::array cells = array_argument(value, "cells", "uint8");
  if (cells.ndim() != 4 || cells.shape(3) != cpu::kCellBytes) {
    fail_value("cells", shape_text(cells), "is (N, h, w, 8)");
  }
  if (is_dense_from(cells, 2)) return cells;
  return py::array_t<uint8_t, py::array::c_style>::ensure(cells);
}

cpu::Plane<uint8_t> maps_output(const py::array& out) {
  if (out.ndim() != 3 || out.shape(2) != cpu::kMapChannels || !is_dense_from(out, 1)) {
    fail_value("out", shape_text(out), "is (H, W, 2) contiguous in its last two axes");
  }
  auto writable = out;
  return {static_cast<uint8_t*>(writable.mutable_data()), out.shape(0), out.shape(1),
          out.strides(0)};
}

// Differences are taken so that no origin, however far, can overflow.
bool is_span_inside(int64_t begin, int64_t end, int64_t origin, int64_t tile, int64_t size) {
  if (begin < 0 || end > size || begin > end) return false;
  return origin <= begin && origin >= end - tile;
}

std::vector<cpu::Rectangle> rectangles(const std::vector<int64_t>& table,
                                       const std::vector<cpu::Point>& origins,
                                       const py::array& cells, const cpu::Plane<uint8_t>& out) {
  const int64_t height = cells.shape(1) * cpu::kCellSide;
  const int64_t width = cells.shape(2) * cpu::kCellSide;
  std::vector<cpu::Rectangle> found;
  for (size_t i = 0; i < origins.size(); ++i) {
    const int64_t* core = table.data() + 4 * i;
    if (!is_span_inside(core[0], core[1], origins[i].row, height, out.height) ||
        !is_span_inside(core[2], core[3], origins[i].column, width, out.width)) {
      fail_value("cores",
                 "rows " + std::to_string(core[0]) + ":" + std::to_string(core[1]) + ", columns " +
                     std::to_string(core[2]) + ":" + std::to_string(core[3]) + " for tile " +
                     std::to_string(i),
                 "is a rectangle inside its tile and inside out");
    }
    found.push_back({core[0], core[1], core[2], core[3]});
  }
  return found;
}

void check_count(size_t got, size_t columns, const py::array& cells, const char* name) {
  if (got != static_cast<size_t>(cells.shape(0)) * columns) {
    fail_value(name, std::to_string(got / columns) + " rows",
               "is one for each of the " + std::to_string(cells.shape(0)) + " tiles");
  }
}

py::array assemble(const py::object& cells, const py::object& origins, const py::object& cores,
                   const py::object& out, int threads) {
  const py::array tiles = cells_argument(cells);
  const std::vector<int64_t> corners = integer_table(origins, "origins", 2);
  const std::vector<int64_t> kept = integer_table(cores, "cores", 4);
  check_count(corners.size(), 2, tiles, "origins");
  check_count(kept.size(), 4, tiles, "cores");
  py::array result = output_argument(out, "out", "uint8");
  const cpu::Plane<uint8_t> target = maps_output(result);
  check_apart(result, tiles, "cells");
  check_threads(threads);
  const std::vector<cpu::Point> places = points(corners);
  const std::vector<cpu::Rectangle> rects = rectangles(kept, places, tiles, target);
  std::vector<cpu::Cells> sources;
  for (py::ssize_t i = 0; i < tiles.shape(0); ++i) {
    sources.push_back(
        {static_cast<const uint8_t*>(tiles.data()) + i * tiles.strides(0), tiles.strides(1)});
  }
  const py::gil_scoped_release release;
  cpu::assemble(sources, places, rects, target, threads);
  return result;
}

}  // namespace

void register_tiles(py::module_& module) {
  module.def("gather", gather, py::arg("image"), py::arg("origins"), py::arg("height"),
             py::arg("width"), py::arg("threads") = 1, py::arg("out") = py::none(), kGather);
  module.def("assemble", assemble, py::arg("cells"), py::arg("origins"), py::arg("cores"),
             py::arg("out"), py::arg("threads") = 1, kAssemble);
}

}  // namespace nucleiseg::bindings
