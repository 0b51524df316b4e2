#include "cpu/outline/outline.h"

#include <cmath>

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/registry.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kOutline = R"(The nuclei's outlines along the edges of their pixels.

Pixel (r, c) is the square from r to r + 1 and from c to c + 1. Pixels of a label that share an edge
are one part of it; parts that touch at a corner alone are two.

Parameters
----------
labels : numpy.ndarray
    (H, W) int32 with any strides: 0 is background, 1..n are nuclei.
tolerance : float
    0 for exact outlines. Above, in pixels: points are dropped where the outline keeps within this
    distance of what remains.
threads : int
    How many threads work, 1 to 1024. The result does not depend on it.

Returns
-------
points : numpy.ndarray
    (P, 2) int32: row and column of each ring's corners, where its direction changes, the first not
    repeated. A ring begins at its first corner in raster order. Outsides run clockwise on the
    screen, holes the other way.
rings : numpy.ndarray
    (R + 1,) int64: ring i is ``points[rings[i]:rings[i + 1]]``.
owners : numpy.ndarray
    (R,) int32: the label of each ring.
holes : numpy.ndarray
    (R,) bool: whether it is the edge of a hole. Rings come in order of label; of a label in raster
    order of its parts; of a part the outside first, then its holes in raster order.

Raises
------
TypeError
    If the labels are not int32.
ValueError
    If the labels are empty, not (H, W), negative, too many or too large, or the tolerance is
    negative or not finite.

Notes
-----
Exact rings are simple polygons, and rings of a part touch each other at corners at most: where an
outline would touch itself it is cut into an outside and a hole. The even-odd rule gives the pixels
back. Linear in the pixels and, but for a logarithm, in the length of the outlines.

A tolerance is kept ring by ring, after Douglas and Peucker [1]_: a ring keeps its first corner, and
at least three that are not on one line. Rectangles, parts with holes, and rings that would cross or
touch themselves stay exact, so every polygon is valid; those of different parts may overlap, by
less than twice the tolerance.

References
----------
.. [1] Douglas and Peucker, "Algorithms for the reduction of the number of points required to
   represent a digitized line or its caricature", Cartographica 10(2), 1973.
   doi:10.3138/FM57-6770-U75U-7727
)";

py::tuple outline(const py::object& labels, double tolerance, int threads) {
  const py::array array = labels_argument(labels);
  if (!(tolerance >= 0.0 && std::isfinite(tolerance))) {
    fail_value("tolerance", std::to_string(tolerance), "is 0 or more pixels");
  }
  check_threads(threads);
  const cpu::LabelView view = labels_view(array);
  const int32_t count = label_count(view, threads);
  cpu::Rings found;
  {
    const GilReleased release;
    found = cpu::outline(view, count, tolerance, threads);
  }
  static_assert(sizeof(cpu::Corner) == 2 * sizeof(int32_t));
  const auto size = static_cast<py::ssize_t>(found.points.size());
  const auto* points = reinterpret_cast<const int32_t*>(found.points.data());
  found.ends.insert(found.ends.begin(), 0);
  return py::make_tuple(
      py::array_t<int32_t>({size, py::ssize_t{2}}, points),
      py::array_t<int64_t>(static_cast<py::ssize_t>(found.ends.size()), found.ends.data()),
      py::array_t<int32_t>(static_cast<py::ssize_t>(found.owners.size()), found.owners.data()),
      py::array_t<uint8_t>(static_cast<py::ssize_t>(found.holes.size()), found.holes.data())
          .attr("view")("bool"));
}

}  // namespace

void register_outline(py::module_& module) {
  module.def("outline", outline, py::arg("labels"), py::kw_only(), py::arg("tolerance") = 0.0,
             py::arg("threads") = 1, kOutline);
}

}  // namespace nucleiseg::bindings
