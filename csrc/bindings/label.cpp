#include "cpu/label/label.h"

#include <utility>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/registry.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kLabel = R"(Separate the nuclei and number them.

The height of a pixel is its centre distance, smoothed by two binomial filters (1, 4, 6, 4, 1) in
each direction. Every nucleus pixel climbs to the highest of its 8 neighbours among the nucleus
pixels, until none is higher: a peak. Of pixels of one height, the first in raster order counts as
the highest. All that reach one peak are its basin.

Two basins meet at a pass: of all pairs of neighbours, one in each, the pair whose lower pixel is
the highest. The passes are taken from the highest down, and two basins become one where the lower
of their peaks is below `marker_threshold`, or less than `prominence` above the pass. With `merging`,
each basin that is left asks once, at its highest pass, whether the two basins there are one nucleus:
csrc/kernels/merge.h says how that is decided. What is left are the nuclei, if they are large, high
and probable enough.

Parameters
----------
maps : numpy.ndarray
    (H, W, 2) uint8 with any strides: nucleus probability and centre distance, 255 is 1.
nucleus_threshold : int
    0..255; least probability of a nucleus pixel.
marker_threshold : int
    0..255; least peak of a nucleus that touches another, in units of the centre distance.
prominence : int
    0..255; how far at least the lower of two peaks is above the pass between two nuclei.
min_area : int
    Nuclei with fewer pixels are dropped; 0 or more.
min_peak : int
    0..255; nuclei with a lower peak are dropped.
min_probability : int
    0..255; nuclei whose pixels have a lower mean probability are dropped.
merging : tuple or None
    Area of a pixel in the network's pixels (float), prominence from which basins are not merged
    (1..255), and 225 weights, -2**20..2**20: of each of the 16 units those of the 12 inputs and
    of the offset, then those of the output. See `nucleiseg.model.Model.label_rule`.
threads : int
    How many threads work, 1 to 1024. The result does not depend on it.

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
A watershed by the drop-of-water principle [1]_, with basins joined by the dynamics of their peaks
[2]_, in integers alone: linear in the pixels, but for sorting the passes that may join basins.

References
----------
.. [1] Cousty, Bertrand, Najman and Couprie, "Watershed Cuts: Minimum Spanning Forests and the Drop
   of Water Principle", IEEE TPAMI 31(8), 2009. doi:10.1109/TPAMI.2008.173
.. [2] Grimaud, "New measure of contrast: the dynamics", Image Algebra and Morphological Image
   Processing III, SPIE 1769, 1992. doi:10.1117/12.60650
)";

std::pair<py::object, int32_t> labelled(const py::object& maps, const cpu::LabelRule& rule,
                                        int threads, cpu::NucleusTable* table) {
  const py::array array = maps_argument(maps);
  check_threads(threads);
  check_pixel_count(array);
  check_memory(array, "maps");
  // numpy.zeros leaves the zeroing to the system, page by page.
  const auto numpy = py::module_::import("numpy");
  auto labels = numpy.attr("zeros")(py::make_tuple(array.shape(0), array.shape(1)), "int32")
                    .cast<py::array_t<int32_t>>();
  int32_t* ids = labels.mutable_data();
  const cpu::ImageView view = maps_view(array);
  int32_t count = 0;
  {
    const GilReleased release;
    count = cpu::label(view, rule, ids, threads, table);
  }
  return {labels, count};
}

py::tuple label(const py::object& maps, int64_t nucleus_threshold, int64_t marker_threshold,
                int64_t prominence, int64_t min_area, int64_t min_peak, int64_t min_probability,
                const Merging& merging, int threads) {
  const cpu::LabelRule rule = label_rule(nucleus_threshold, marker_threshold, prominence, min_area,
                                         min_peak, min_probability, merging);
  const auto [labels, count] = labelled(maps, rule, threads, nullptr);
  return py::make_tuple(labels, count);
}

constexpr const char* kNuclei = R"(Separate the nuclei, number them and tabulate their peaks.

As ``label``, with a table of all nuclei that the watershed found, also of those that are dropped.
Joining every nucleus whose prominence is below p to its neighbour gives the nuclei of a watershed
with the prominence p, for any p up to `most_prominence`, unless some were merged.

Parameters
----------
maps : numpy.ndarray
nucleus_threshold, marker_threshold, prominence, min_area, min_peak, min_probability, merging
    See ``label``.
most_prominence : int
    `prominence`..255; up to where prominences are measured.
threads : int
    How many threads work, 1 to 1024. The result does not depend on it.

Returns
-------
labels : numpy.ndarray
    (H, W) int32, as ``label`` returns.
areas : numpy.ndarray
    (n,) int64: pixels. Nuclei are in raster order of their first pixels.
peaks : numpy.ndarray
    (n,) float64: 0..255, the highest smoothed centre distance.
prominences : numpy.ndarray
    (n,) float64: how far the peak is above the highest saddle that leads to a higher nucleus;
    `most_prominence` if it is farther or there is no such saddle.
neighbours : numpy.ndarray
    (n,) int64: index of the nucleus beyond that saddle, the nucleus's own where there is none.

Raises
------
TypeError, ValueError
    As ``label``.
)";

py::tuple nuclei(const py::object& maps, int64_t nucleus_threshold, int64_t marker_threshold,
                 int64_t prominence, int64_t min_area, int64_t min_peak, int64_t min_probability,
                 const Merging& merging, int64_t most_prominence, int threads) {
  cpu::NucleusTable table{byte_argument(most_prominence, "most_prominence")};
  const cpu::LabelRule rule = label_rule(nucleus_threshold, marker_threshold, prominence, min_area,
                                         min_peak, min_probability, merging);
  if (table.prominence < rule.prominence) {
    fail_value("most_prominence", std::to_string(most_prominence),
               "is prominence or more, up to 255");
  }
  const py::object labels = labelled(maps, rule, threads, &table).first;
  constexpr auto unit = static_cast<double>(kernels::kUnitsPerDistance);
  const std::vector<cpu::Nucleus>& all = table.nuclei;
  return py::make_tuple(
      labels, column<int64_t>(all.size(), [&](size_t i) { return all[i].area; }),
      column<double>(all.size(), [&](size_t i) { return all[i].peak / unit; }),
      column<double>(all.size(), [&](size_t i) { return all[i].prominence / unit; }),
      column<int64_t>(all.size(), [&](size_t i) { return all[i].neighbour; }));
}

}  // namespace

void register_label(py::module_& module) {
  module.def("label", label, py::arg("maps"), py::arg("nucleus_threshold"),
             py::arg("marker_threshold"), py::arg("prominence"), py::arg("min_area"),
             py::arg("min_peak") = 0, py::arg("min_probability") = 0,
             py::arg("merging") = py::none(), py::arg("threads") = 1, kLabel);
  module.def("nuclei", nuclei, py::arg("maps"), py::arg("nucleus_threshold"),
             py::arg("marker_threshold"), py::arg("prominence"), py::arg("min_area"),
             py::arg("min_peak"), py::arg("min_probability"), py::arg("merging"),
             py::arg("most_prominence"), py::arg("threads") = 1, kNuclei);
}

}  // namespace nucleiseg::bindings
