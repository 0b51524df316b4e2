#include "cpu/label/label_bands.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "cpp/bindings/registry.h"
#include "cpu/label/label.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kLabelBands =
    R"(Label maps that come band by band, keeping some of the pixels.

The labels are those of `label` on the whole maps, at the rows and columns that are kept. Memory
grows with these and with the number of nuclei, and not with the maps.

Parameters
----------
height, width : int
    Of the whole maps, which have fewer than 2**31 pixels.
rows, columns : numpy.ndarray
    (h,) and (w,) int64, ascending: those of the maps that are kept.
nucleus_threshold, marker_threshold, prominence, min_area, min_peak, min_probability : int
    As of `label`.
)";

constexpr const char* kAdd = R"(Take the rows from `next` to `end`.

Parameters
----------
maps : numpy.ndarray
    (h, W, 2) uint8 with any strides: these rows and `margin` more on either side, as far as the
    whole maps go.
above : int
    Rows of the whole maps that are missing above.
end : int
threads : int

Raises
------
TypeError
    If the maps are not uint8.
ValueError
    If they have another width, or lack rows that are needed.
)";

constexpr const char* kFinish = R"(Return the labels, once all rows were taken.

Parameters
----------
threads : int

Returns
-------
numpy.ndarray
    (h, w) int32: 0 is background, 1..n are nuclei. Some numbers may be missing.

Raises
------
ValueError
    If there are rows left.
)";

constexpr const char* kLargestPieces = R"(Keep the largest piece of each label, in place.

Pieces are connected by their 8 neighbours; the first in raster order is kept of equal ones. The
others become background, and labels are numbered 1..n in raster order of first pixels.

Parameters
----------
labels : numpy.ndarray
    (H, W) int32, writable, C-contiguous.

Returns
-------
int
    n.

Raises
------
TypeError
    If the labels are not int32.
ValueError
    If they are negative, empty, of another shape, or cannot be written.
)";

std::vector<int64_t> kept_argument(const py::object& values, int64_t length, const char* name) {
  const py::array array = array_argument(values, name, "int64");
  if (array.ndim() != 1 || array.size() == 0 || array.size() > length) {
    fail_value(name, shape_text(array), "is (n,), 1 to " + std::to_string(length) + " numbers");
  }
  const auto dense = dense_array<int64_t>(array);
  const std::vector<int64_t> kept(dense.data(), dense.data() + dense.size());
  const auto falls = std::adjacent_find(kept.begin(), kept.end(), std::greater_equal<>());
  if (falls != kept.end() || kept.front() < 0 || kept.back() >= length) {
    fail_value(name, "numbers that are not in order or not inside",
               "are ascending ones of 0 to " + std::to_string(length - 1));
  }
  return kept;
}

class Bands {
 public:
  Bands(int64_t height, int64_t width, std::vector<int64_t> rows, std::vector<int64_t> columns,
        const kernels::LabelRule& rule)
      : height_(height),
        width_(width),
        labels_(py::module_::import("numpy")
                    .attr("zeros")(py::make_tuple(rows.size(), columns.size()), "int32")
                    .cast<py::array_t<int32_t>>()),
        bands_(width, rule, std::move(rows), std::move(columns), labels_.mutable_data()) {}

  int64_t next() const { return bands_.next(); }

  void add(const py::object& maps, int64_t above, int64_t end, int threads) {
    const py::array array = maps_argument(maps);
    check_threads(threads);
    constexpr int64_t kMargin = cpu::LabelBands::kMargin;
    const int64_t first = std::max<int64_t>(next() - kMargin, 0);
    const int64_t last = std::min(end, height_ - kMargin) + kMargin;
    const bool fits = end > next() && end <= height_ && array.shape(1) == width_ && above >= 0 &&
                      above <= first && array.shape(0) >= last - above;
    if (!fits) {
      fail_value("maps", shape_text(array) + " below row " + std::to_string(above),
                 "are rows " + std::to_string(first) + " to " + std::to_string(last) + " of (" +
                     std::to_string(height_) + ", " + std::to_string(width_) + ", 2)");
    }
    cpu::ImageView view = maps_view(array);
    view.data -= above * view.row_stride;
    view.height = height_;
    const GilReleased release;
    bands_.add(view, end, threads);
  }

  py::array finish(int threads) {
    check_threads(threads);
    if (next() != height_) {
      fail_value("maps", std::to_string(next()) + " rows", "are " + std::to_string(height_));
    }
    const GilReleased release;
    bands_.finish(threads);
    return labels_;
  }

 private:
  const int64_t height_;
  const int64_t width_;
  py::array_t<int32_t> labels_;
  cpu::LabelBands bands_;
};

std::unique_ptr<Bands> make_bands(int64_t height, int64_t width, const py::object& rows,
                                  const py::object& columns, int nucleus_threshold,
                                  int marker_threshold, int prominence, int64_t min_area,
                                  int min_peak, int min_probability, const Merging& merging) {
  if (height < 1 || width < 1 || height > kMaxResizedSide || width > kMaxResizedSide ||
      height > std::numeric_limits<int32_t>::max() / width) {
    fail_value("height, width", std::to_string(height) + ", " + std::to_string(width),
               "are 1 to 2**20 each, and fewer than 2**31 pixels");
  }
  return std::make_unique<Bands>(height, width, kept_argument(rows, height, "rows"),
                                 kept_argument(columns, width, "columns"),
                                 label_rule(nucleus_threshold, marker_threshold, prominence,
                                            min_area, min_peak, min_probability, merging));
}

int32_t keep_largest_pieces(const py::object& labels) {
  const py::array array = output_argument(labels, "labels", "int32");
  check_not_empty(array, "labels");
  const bool is_aligned = reinterpret_cast<uintptr_t>(array.data()) % alignof(int32_t) == 0;
  if (array.ndim() != 2 || !is_dense_from(array, 0) || !is_aligned) {
    fail_value("labels", shape_text(array) + (is_aligned ? "" : ", not aligned"),
               "is (H, W), C-contiguous and aligned");
  }
  label_count(labels_view(array), 1);
  auto* ids = static_cast<int32_t*>(const_cast<void*>(array.data()));
  const GilReleased release;
  return cpu::drop_loose_pieces(ids, array.shape(0), array.shape(1));
}

const CpuBinding kLabelBandsBinding([](py::module_& module) {
  py::class_<Bands> bands(module, "LabelBands", kLabelBands);
  bands
      .def(py::init(&make_bands), py::arg("height"), py::arg("width"), py::arg("rows"),
           py::arg("columns"), py::arg("nucleus_threshold"), py::arg("marker_threshold"),
           py::arg("prominence"), py::arg("min_area"), py::arg("min_peak") = 0,
           py::arg("min_probability") = 0, py::arg("merging") = py::none())
      .def_property_readonly("next", &Bands::next, "The row that the next band begins with.")
      .def("add", &Bands::add, py::arg("maps"), py::arg("above"), py::arg("end"),
           py::arg("threads") = 1, kAdd)
      .def("finish", &Bands::finish, py::arg("threads") = 1, kFinish);
  bands.attr("margin") = cpu::LabelBands::kMargin;
  module.def("keep_largest_pieces", keep_largest_pieces, py::arg("labels"), kLargestPieces);
});

}  // namespace
}  // namespace nucleiseg::bindings
