#include "cpu/measure/measure.h"

#include <algorithm>
#include <optional>

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/registry.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kMeasure = R"(Measure every nucleus.

Parameters
----------
labels : numpy.ndarray
    (H, W) int32 with any strides: 0 is background, 1..n are nuclei. Ids may be missing.
image : numpy.ndarray, optional
    (H, W) or (H, W, C) of uint8, uint16, int16, float32 or float64, with any strides. All C
    channels are measured.
maps : numpy.ndarray, optional
    (H, W, 2) uint8 with any strides: nucleus probability first, 255 is 1.
ring : int
    How far the ring around a nucleus goes, in pixels of chessboard distance; 0 to 131072.
threads : int
    How many threads work, 1 to 1024. The result does not depend on it.

Returns
-------
dict of str to numpy.ndarray
    Columns of n values, n being the greatest label, row i for label i + 1. The names are those of
    scikit-image's ``regionprops_table``, and so are the values, but for rounding. float64 unless
    said otherwise; lengths in pixels, coordinates those of pixels' centres.

    label, area
        int64; the number of pixels.
    centroid-0, centroid-1
        Mean row and column.
    bbox-0, bbox-1, bbox-2, bbox-3
        int64: first row, first column, last row + 1, last column + 1.
    equivalent_diameter_area
        Diameter of the circle of that area.
    axis_major_length, axis_minor_length, eccentricity, orientation
        Of the ellipse with the same second moments; the angle in radians, from -pi / 2 to pi / 2,
        between the rows' axis and the major axis.
    perimeter_crofton
        Crofton's formula with 4 directions.
    circularity
        ``4 pi area / perimeter_crofton**2``.
    solidity
        Area over the number of pixels whose centres lie in the convex hull of the middles of the
        nucleus's pixels' edges, or on the hull's edge.
    border
        bool: it has a pixel at the image's edge.
    intensity_mean-c, intensity_std-c, intensity_min-c, intensity_max-c
        With an image, for each channel c from 0; the deviation divides by the number of pixels.
    ring_intensity_mean-c, ...
        The same of the ring: background pixels within `ring` of the nucleus that are nearer to no
        other, or as near to none of a lower id.
    probability_mean
        With maps: 0..1.

    A label without pixels has area 0, zeros in its other integers and nan elsewhere; an empty ring
    has nan, and so have pixels of which one is nan.

Raises
------
TypeError
    If a dtype is not accepted.
ValueError
    If the labels are empty, not (H, W), negative, too many or too large, another array has another
    height or width, or a number is out of range.

Notes
-----
Linear in the pixels. The perimeter is by Crofton's formula [1]_, the hull by a monotone chain [2]_
in whole numbers, the nearest nucleus by two passes over the image [3]_.

References
----------
.. [1] Rivollier, "Analyse d'image geometrique et morphometrique par diagrammes de forme et
   voisinages adaptatifs generaux", thesis, Ecole Nationale Superieure des Mines de Saint-Etienne,
   2010.
.. [2] Andrew, "Another efficient algorithm for convex hulls in two dimensions", Information
   Processing Letters 9(5), 1979. doi:10.1016/0020-0190(79)90072-3
.. [3] Rosenfeld and Pfaltz, "Sequential Operations in Digital Picture Processing", Journal of the
   ACM 13(4), 1966. doi:10.1145/321356.321357
)";

constexpr const char* kAreas = R"(Count the pixels of every nucleus.

Parameters
----------
labels : numpy.ndarray
    (H, W) int32 with any strides: 0 is background, 1..n are nuclei. Ids may be missing.

Returns
-------
numpy.ndarray
    (n,) int64, n being the greatest label: pixels of the labels 1..n.

Raises
------
TypeError
    If the labels are not int32.
ValueError
    If they are empty, not (H, W), negative, too many or too large.
)";

constexpr int64_t kMaxValues = int64_t{1} << 22;  // labels times channels

using cpu::Intensity;
using cpu::Shape;

struct ShapeColumn {
  const char* name;
  double Shape::* value;
};

constexpr ShapeColumn kShapeColumns[] = {
    {"equivalent_diameter_area", &Shape::diameter}, {"axis_major_length", &Shape::major_axis},
    {"axis_minor_length", &Shape::minor_axis},      {"eccentricity", &Shape::eccentricity},
    {"orientation", &Shape::orientation},           {"perimeter_crofton", &Shape::perimeter},
    {"circularity", &Shape::circularity},           {"solidity", &Shape::solidity},
};

struct IntensityColumn {
  const char* name;
  double Intensity::* value;
};

constexpr IntensityColumn kIntensityColumns[] = {
    {"intensity_mean", &Intensity::mean},
    {"intensity_std", &Intensity::std},
    {"intensity_min", &Intensity::min},
    {"intensity_max", &Intensity::max},
};

std::string numbered(const std::string& name, size_t i) { return name + "-" + std::to_string(i); }

void add_shapes(const std::vector<Shape>& shapes, py::dict& table) {
  const size_t count = shapes.size();
  table["label"] = column<int64_t>(count, [](size_t i) { return static_cast<int64_t>(i) + 1; });
  table["area"] = column<int64_t>(count, [&](size_t i) { return shapes[i].area; });
  for (size_t k = 0; k < 2; ++k) {
    table[numbered("centroid", k).c_str()] =
        column<double>(count, [&](size_t i) { return shapes[i].centroid[k]; });
  }
  for (size_t k = 0; k < 4; ++k) {
    table[numbered("bbox", k).c_str()] =
        column<int64_t>(count, [&](size_t i) { return shapes[i].box[k]; });
  }
  for (const ShapeColumn& shape : kShapeColumns) {
    table[shape.name] = column<double>(count, [&](size_t i) { return shapes[i].*shape.value; });
  }
  table["border"] = column<bool>(count, [&](size_t i) { return shapes[i].border; });
}

void add_intensities(const std::string& prefix, const std::vector<Intensity>& values, size_t count,
                     size_t channels, py::dict& table) {
  for (size_t c = 0; c < channels; ++c) {
    for (const IntensityColumn& part : kIntensityColumns) {
      table[numbered(prefix + part.name, c).c_str()] =
          column<double>(count, [&](size_t i) { return values[i * channels + c].*part.value; });
    }
  }
}

void check_same_size(const py::array& array, const char* name, const py::array& labels) {
  if (array.shape(0) == labels.shape(0) && array.shape(1) == labels.shape(1)) return;
  fail_value(name, shape_text(array), "has the labels' height and width: " + shape_text(labels));
}

// A table of more values than the image's is made of labels that are out of all proportion to it.
void check_table(const cpu::MeasureInputs& inputs) {
  if (inputs.image == nullptr) return;
  const int64_t pixels = inputs.labels.height * inputs.labels.width;
  const int64_t values = inputs.image->channels * inputs.count;
  if (values <= std::max(kMaxValues, pixels * inputs.image->channels)) return;
  fail_value("labels",
             "the label " + std::to_string(inputs.count) + " for " +
                 std::to_string(inputs.image->channels) + " channels",
             "are up to " + std::to_string(kMaxValues / inputs.image->channels));
}

py::dict measure(const py::object& labels, const py::object& image, const py::object& maps,
                 int64_t ring, int threads) {
  const py::array label_array = labels_argument(labels);
  cpu::MeasureInputs inputs = {labels_view(label_array), 0, nullptr, nullptr, ring};
  std::optional<py::array> image_array;
  std::optional<py::array> maps_array;
  cpu::ImageView image_pixels;
  cpu::ImageView maps_pixels;
  if (!image.is_none()) {
    image_array = array_argument(image, "image");
    image_pixels = channels_view(*image_array, "image");
    check_same_size(*image_array, "image", label_array);
    check_memory(*image_array, "image");
    inputs.image = &image_pixels;
  }
  if (!maps.is_none()) {
    maps_array = maps_argument(maps);
    maps_pixels = maps_view(*maps_array);
    check_same_size(*maps_array, "maps", label_array);
    check_memory(*maps_array, "maps");
    inputs.maps = &maps_pixels;
  }
  if (ring < 0 || ring > kMaxSide) {
    fail_value("ring", std::to_string(ring), "is 0 to " + std::to_string(kMaxSide) + " pixels");
  }
  check_threads(threads);
  inputs.count = label_count(inputs.labels, threads);
  check_table(inputs);
  cpu::Measures found;
  {
    const GilReleased release;
    found = cpu::measure(inputs, threads);
  }
  py::dict table;
  const size_t count = found.shapes.size();
  add_shapes(found.shapes, table);
  if (inputs.image != nullptr) {
    const auto channels = static_cast<size_t>(image_pixels.channels);
    add_intensities("", found.nuclei, count, channels, table);
    add_intensities("ring_", found.rings, count, channels, table);
  }
  if (inputs.maps != nullptr) {
    table["probability_mean"] =
        column<double>(count, [&](size_t i) { return found.probabilities[i]; });
  }
  return table;
}

py::array_t<int64_t> areas(const py::object& labels) {
  const py::array array = labels_argument(labels);
  const cpu::LabelView view = labels_view(array);
  const int32_t count = label_count(view, 1);
  py::array_t<int64_t> result(static_cast<py::ssize_t>(count));
  int64_t* out = result.mutable_data();
  const GilReleased release;
  cpu::count_pixels(view, count, out);
  return result;
}

}  // namespace

void register_measure(py::module_& module) {
  module.def("measure", measure, py::arg("labels"), py::arg("image") = py::none(),
             py::arg("maps") = py::none(), py::kw_only(), py::arg("ring") = 5,
             py::arg("threads") = 1, kMeasure);
  module.def("areas", areas, py::arg("labels"), kAreas);
}

}  // namespace nucleiseg::bindings
