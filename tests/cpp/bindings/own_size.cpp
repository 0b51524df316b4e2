// Parts of the pipeline by themselves, for tests.
#include "pipeline/own_size.h"

#include <pybind11/stl.h>

#include <array>
#include <cstring>

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/results.h"
#include "cpp/bindings/registry.h"
#include "pipeline/plan.h"

namespace nucleiseg::bindings {
namespace {

using pipeline::Band;
using pipeline::OwnSize;
using pipeline::Size;

constexpr const char* kPlan = R"(Return the rows of tiles that cover an image, from top to bottom.

Parameters
----------
height, width : int
tile : int
    Largest side of a tile, a multiple of `stride` above twice `halo`.
halo : int
    Margin that is thrown away where tiles meet, a multiple of `stride`.
stride : int
tall : int, optional
    Largest height of a tile, if it is not `tile` too.

Returns
-------
list of Band
)";

constexpr const char* kBand = R"(One row of tiles.

Attributes
----------
rows : tuple of int
    First pixel row that the tiles see, and the one after the last within the image.
kept : tuple of int
    First pixel row that the tiles keep, and the one after the last.
sources : numpy.ndarray
    (n, 2) int64: each tile's top-left pixel, counted from the first row that is seen.
targets : numpy.ndarray
    (n, 2) int64: the same pixel, counted from the first row that is kept.
cores : numpy.ndarray
    (n, 4) int64: the rectangle that each tile keeps (row0, row1, column0, column1), counted
    likewise.
size : tuple of int
    Height and width of each tile.
)";

constexpr const char* kOwnSize =
    R"(Outputs at an image's own size, of maps of the image magnified that come band by band.

Parameters
----------
outputs : sequence of {"mask", "labels", "maps"}
shape : tuple of int
    Height and width of the image.
seen : tuple of int
    Height and width of the maps, neither below the image's.
rule : tuple of int
    ``nucleus_threshold, marker_threshold, prominence, min_area, min_peak, min_probability,
    merging``.
threads : int
)";

constexpr const char* kBandRows =
    "Rows of maps that a band may have, so that it takes no more memory than the image's outputs.";

py::array_t<int64_t> table(const std::vector<int64_t>& values, int64_t columns) {
  const auto rows = static_cast<int64_t>(values.size()) / columns;
  return py::array_t<int64_t>({rows, columns}, values.data());
}

py::array_t<int64_t> points(const std::vector<kernels::Point>& points) {
  std::vector<int64_t> values;
  for (const auto& point : points) values.insert(values.end(), {point.row, point.column});
  return table(values, 2);
}

py::array_t<int64_t> cores(const Band& band) {
  std::vector<int64_t> values;
  for (const auto& core : band.cores) {
    values.insert(values.end(), {core.row_begin, core.row_end, core.column_begin, core.column_end});
  }
  return table(values, 4);
}

std::vector<Band> plan(int64_t height, int64_t width, int64_t tile, int64_t halo, int64_t stride,
                       const std::optional<int64_t>& tall) {
  constexpr int64_t kMostTile = int64_t{1} << 31;
  constexpr int64_t kMostTiles = int64_t{1} << 20;
  const int64_t high = tall.value_or(tile);
  const auto fits = [&](int64_t side) {
    return side % stride == 0 && 2 * halo < side && side <= kMostTile;
  };
  const bool is_good = height >= 1 && width >= 1 && std::max(height, width) <= kMostTile &&
                       stride >= 1 && halo >= 0 && halo < kMostTile && halo % stride == 0 &&
                       fits(tile) && fits(high);
  if (!is_good || (height / (high - 2 * halo) + 1) > kMostTiles / (width / (tile - 2 * halo) + 1)) {
    fail_value("height, width, tile, halo, stride, tall", "sizes that do not fit each other",
               "are pixels, multiples of the stride with tiles above twice the halo, and up to "
               "2**20 tiles");
  }
  return pipeline::plan(height, width, tile, high, halo, stride);
}

using Sides = std::array<int64_t, 2>;

Size size_argument(const Sides& sides, const char* name) {
  if (sides[0] < 1 || sides[1] < 1 || std::max(sides[0], sides[1]) > kMaxResizedSide ||
      sides[0] > INT32_MAX / sides[1]) {
    fail_value(name, std::to_string(sides[0]) + ", " + std::to_string(sides[1]),
               "are 1 to 2**20 each, and fewer than 2**31 pixels");
  }
  return {sides[0], sides[1]};
}

// The C++ class with the arrays that it writes to.
class BoundOwnSize {
 public:
  BoundOwnSize(const py::object& outputs, const Size& size, const Size& seen,
               const kernels::LabelRule& rule, int threads)
      : seen_(seen), results_(outputs, size), own_(results_.outputs(), size, seen, rule, threads) {}

  void add(const py::object& maps) {
    const py::array array = maps_argument(maps);
    const py::ssize_t left = seen_.height - rows_;
    if (array.shape(1) != seen_.width || array.shape(0) > left) {
      fail_value("maps", shape_text(array),
                 "are up to " + std::to_string(left) + " rows of " + std::to_string(seen_.width));
    }
    const auto dense = dense_array<uint8_t>(array);
    rows_ += array.shape(0);
    const GilReleased release;
    uint8_t* const rows = own_.next_rows(dense.shape(0));
    std::memcpy(rows, dense.data(), static_cast<size_t>(dense.size()));
    own_.add();
  }

  py::tuple results() {
    if (rows_ != seen_.height) {
      fail_value("maps", std::to_string(rows_) + " rows", "are " + std::to_string(seen_.height));
    }
    if (!is_finished_) {
      is_finished_ = true;
      const GilReleased release;
      own_.finish();
    }
    return results_.arrays();
  }

 private:
  const Size seen_;
  Results results_;
  OwnSize own_;
  int64_t rows_ = 0;
  bool is_finished_ = false;
};

std::unique_ptr<BoundOwnSize> make_own_size(const py::object& outputs, const Sides& shape,
                                            const Sides& seen, const RuleNumbers& rule,
                                            int threads) {
  const Size size = size_argument(shape, "shape");
  const Size maps = size_argument(seen, "seen");
  if (maps.height < size.height || maps.width < size.width) {
    fail_value("seen", "a size below the image's", "is one that is not");
  }
  check_threads(threads);
  return std::make_unique<BoundOwnSize>(outputs, size, maps, std::apply(label_rule, rule), threads);
}

const CpuBinding kOwnSizeBinding([](py::module_& module) {
  py::class_<Band>(module, "Band", kBand)
      .def_property_readonly(
          "rows", [](const Band& self) { return py::make_tuple(self.seen_begin, self.seen_end); })
      .def_property_readonly(
          "kept", [](const Band& self) { return py::make_tuple(self.kept_begin, self.kept_end); })
      .def_property_readonly("sources", [](const Band& self) { return points(self.sources); })
      .def_property_readonly("targets", [](const Band& self) { return points(self.targets); })
      .def_property_readonly("cores", cores)
      .def_property_readonly("size", [](const Band& self) {
        return py::make_tuple(self.tile_height, self.tile_width);
      });
  module.def("plan", plan, py::arg("height"), py::arg("width"), py::arg("tile"), py::arg("halo"),
             py::arg("stride"), py::arg("tall") = py::none(), kPlan);
  py::class_<BoundOwnSize>(module, "OwnSize", kOwnSize)
      .def(py::init(&make_own_size), py::arg("outputs"), py::arg("shape"), py::arg("seen"),
           py::arg("rule"), py::arg("threads") = 1)
      .def("add", &BoundOwnSize::add, py::arg("maps"), "Take the next rows, (h, W, 2) uint8.")
      .def("results", &BoundOwnSize::results, "Return the outputs, once all rows were added.");
  module.def(
      "band_rows",
      [](const Sides& shape, const Sides& seen) {
        return pipeline::band_rows({shape[0], shape[1]}, {seen[0], std::max<int64_t>(1, seen[1])});
      },
      py::arg("shape"), py::arg("seen"), kBandRows);
});

}  // namespace
}  // namespace nucleiseg::bindings
