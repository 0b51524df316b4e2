#include "cpu/label.h"

#include "bindings/arguments.h"
#include "bindings/registry.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kLabel = R"(Separate the nuclei and number them.

Core pixels are the nucleus pixels whose centre distance reaches `core_threshold`; cores are their
4-connected components of at least `min_core` pixels. Every nucleus pixel that is no core pixel
climbs the distance map: to its highest 8-neighbour among the nucleus pixels, if that is strictly
higher, the first in raster order among equals. Pixels without a higher neighbour form 8-connected
zones of equal distance; a zone leaves by its first neighbour, in raster order, of the same distance
that climbs, and is a summit where there is none. A pixel belongs to the core that it reaches.

Pixels that reach no core, but a summit or a component of too few core pixels, are coreless. An
8-connected component of coreless pixels joins a nucleus that it touches: of the pixels next to it
that belong to a core, the highest decides, the first in raster order among equals. One that touches
none is a nucleus of its own if its highest centre distance is at least `min_peak`, and else none.

Parameters
----------
maps : numpy.ndarray
    (H, W, 2) uint8 with any strides: nucleus probability and centre distance, 255 is 1.
nucleus_threshold, core_threshold : int
    0..255; least probability of a nucleus pixel, least centre distance of a core pixel.
min_core : int
    Components of core pixels with fewer pixels are no cores; 0 or more.
min_area : int
    Nuclei with fewer pixels are dropped; 0 or more.
min_peak : int
    0..255; least highest centre distance of a nucleus without a core.
threads : int
    How many threads work, 1 or more. The result does not depend on it.

Returns
-------
labels : numpy.ndarray
    (H, W) int32: 0 is background, 1..count in raster order of each nucleus's first pixel.
count : int
    How many nuclei there are.

Raises
------
TypeError
    If the maps are not uint8.
ValueError
    If the maps are empty, of another shape or have 2**31 pixels or more, or a number is out of
    range.

Notes
-----
A watershed by the drop-of-water principle [1]_ with union-find components [2]_, in linear time and
integers alone.

References
----------
.. [1] Cousty, Bertrand, Najman and Couprie, "Watershed Cuts: Minimum Spanning Forests and the Drop
   of Water Principle", IEEE TPAMI 31(8), 2009. doi:10.1109/TPAMI.2008.173
.. [2] Wu, Otoo and Suzuki, "Optimizing two-pass connected-component labeling algorithms", Pattern
   Analysis and Applications 12, 2009. doi:10.1007/s10044-008-0109-y
)";

py::tuple label(const py::object& maps, int nucleus_threshold, int core_threshold, int64_t min_core,
                int64_t min_area, int min_peak, int threads) {
  const py::array array = maps_argument(maps);
  const cpu::LabelRule rule =
      label_rule(nucleus_threshold, core_threshold, min_core, min_area, min_peak);
  check_threads(threads);
  check_pixel_count(array);
  // numpy.zeros leaves the zeroing to the system, page by page.
  const auto numpy = py::module_::import("numpy");
  auto labels = numpy.attr("zeros")(py::make_tuple(array.shape(0), array.shape(1)), "int32")
                    .cast<py::array_t<int32_t>>();
  int32_t* ids = labels.mutable_data();
  const cpu::ImageView view = maps_view(array);
  int32_t count = 0;
  {
    const py::gil_scoped_release release;
    count = cpu::label(view, rule, ids, threads);
  }
  return py::make_tuple(labels, count);
}

}  // namespace

void register_label(py::module_& module) {
  module.def("label", label, py::arg("maps"), py::arg("nucleus_threshold"),
             py::arg("core_threshold"), py::arg("min_core"), py::arg("min_area"),
             py::arg("min_peak") = 0, py::arg("threads") = 1, kLabel);
}

}  // namespace nucleiseg::bindings
