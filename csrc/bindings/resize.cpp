#include "cpu/tiles/resize.h"

#include <optional>

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/registry.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kResize = R"(Resize an image, or a part of it.

A pixel is the mean of the area that it covers where no side grows, and otherwise interpolated by
cubic convolution with a = -3/4 [1]_. It depends on the image and its place alone: parts put together
are the whole.

Parameters
----------
image : numpy.ndarray
    (H, W) or (H, W, C) with any strides and up to 4 channels, of uint8, uint16, int16, float32 or
    float64; or some of its rows, see `above`.
height, width : int
    The size of the whole result.
rows, columns : tuple of int, optional
    The first and the one after the last of those to compute; all when left out.
above : int
    Rows of the whole image that are missing above `image`.
below : int
    Likewise below it.
threads : int
    How many threads work, 1 or more. The result does not depend on it.

Returns
-------
numpy.ndarray
    Those rows and columns, of the same dtype.

Raises
------
TypeError
    If the dtype is not accepted.
ValueError
    If the image is empty, a size is out of range, or rows are missing that are needed.

References
----------
.. [1] Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981.
   doi:10.1109/TASSP.1981.1163711
)";

using Part = std::optional<std::pair<int64_t, int64_t>>;

constexpr int64_t kMostChannels = 4;

std::pair<int64_t, int64_t> part_of(const Part& part, int64_t length, const char* name) {
  if (!part) return {0, length};
  if (part->first < 0 || part->first >= part->second || part->second > length) {
    fail_value(name, std::to_string(part->first) + ", " + std::to_string(part->second),
               "is 0 <= first < last <= " + std::to_string(length));
  }
  return *part;
}

// The view of the whole image, of which rows may be missing that are not read.
cpu::ImageView whole_view(const py::array& image, int64_t above, int64_t below) {
  cpu::ImageView view = channels_view(image, "image");
  if (view.channels > kMostChannels) fail_value("image", shape_text(image), "are 1 to 4 channels");
  view.data -= above * view.row_stride;
  view.height += above + below;
  return view;
}

py::array resize(const py::object& image, int64_t height, int64_t width, const Part& rows,
                 const Part& columns, int64_t above, int64_t below, int threads) {
  const py::array array = array_argument(image, "image");
  check_size(height, 1, "height");
  check_size(width, 1, "width");
  check_size(above, 0, "above");
  check_size(below, 0, "below");
  check_threads(threads);
  const cpu::ImageView view = whole_view(array, above, below);
  const auto [row_begin, row_end] = part_of(rows, height, "rows");
  const auto [column_begin, column_end] = part_of(columns, width, "columns");
  const cpu::RowRange needed = cpu::resize_rows(view, height, width, row_begin, row_end);
  if (needed.begin < above || needed.end > view.height - below) {
    fail_value("image",
               "rows " + std::to_string(above) + " to " + std::to_string(view.height - below) +
                   " of the whole",
               "are rows " + std::to_string(needed.begin) + " to " + std::to_string(needed.end) +
                   ", which are needed");
  }
  if ((row_end - row_begin) * (column_end - column_begin) > kMaxResizedPixels) {
    fail_value("rows, columns", "more than 2**31 pixels", "are fewer at once");
  }
  std::vector<py::ssize_t> shape = {row_end - row_begin, column_end - column_begin};
  if (array.ndim() == 3) shape.push_back(array.shape(2));
  py::array result(array.dtype(), shape);
  void* out = result.mutable_data();
  const GilReleased release;
  cpu::resize(view, height, width, {row_begin, row_end, column_begin, column_end}, out, threads);
  return result;
}

}  // namespace

void register_resize(py::module_& module) {
  module.def("resize", resize, py::arg("image"), py::arg("height"), py::arg("width"),
             py::arg("rows") = py::none(), py::arg("columns") = py::none(), py::arg("above") = 0,
             py::arg("below") = 0, py::arg("threads") = 1, kResize);
}

}  // namespace nucleiseg::bindings
