#include "cpu/normalize.h"

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/registry.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kPercentiles = R"(Two percentiles of all colour values together.

Parameters
----------
image : numpy.ndarray
    (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, int16, float32 or float64, with any
    strides. The fourth channel is alpha and does not count. float64 is rounded to float32 first.
low, high : float
    Percentages, 0 <= low <= high <= 100.
threads : int
    How many threads work, 1 to 1024. The result does not depend on it.

Returns
-------
tuple of float
    The order statistics of NumPy's ``method="lower"``: values that occur in the image.

Raises
------
TypeError
    If the dtype is not accepted.
ValueError
    If the image is empty, has another shape, or has values that are not finite in float32.

Notes
-----
A histogram of all values; floats by the order of their bits (Herf, "Radix Tricks", 2001).
)";

constexpr const char* kNormalize = R"(Map low..high to 0..255 and give three channels.

Parameters
----------
image : numpy.ndarray
    (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, int16, float32 or float64, with any
    strides. Grey is repeated in all three channels, alpha is dropped.
low, high : float
    The values that become 0 and 255. Where high <= low the output is all 0.
threads : int
    How many threads work, 1 to 1024. The result does not depend on it.
out : numpy.ndarray, optional
    (H, W, 3) uint8, writable and C-contiguous, to write into.

Returns
-------
numpy.ndarray
    (H, W, 3) uint8: ``floor((image - low) * (255 / (high - low)) + 0.5)`` limited to 0..255, each
    step rounded to float32. NaN becomes 0. This is `out` where that was given.

Raises
------
TypeError
    If a dtype is not accepted.
ValueError
    If the image is empty, a shape is wrong, a limit is not finite, or `out` cannot be written.
)";

constexpr const char* kCheckImage = R"(Raise what `percentiles` would of an image's dtype and shape.

Its values are not read: for images that go elsewhere.

Parameters
----------
image : numpy.ndarray
)";

void check_image(const py::object& image) { image_view(array_argument(image, "image"), "image"); }

py::tuple percentiles(const py::object& image, double low, double high, int threads) {
  const py::array array = array_argument(image, "image");
  const cpu::ImageView view = image_view(array, "image");
  check_memory(array, "image");
  check_threads(threads);
  check_percentages(low, high);
  std::pair<double, double> found;
  {
    const GilReleased release;
    found = cpu::percentiles(view, low, high, threads);
  }
  return py::make_tuple(found.first, found.second);
}

py::array rgb_output(const py::object& out, const py::array& image, const cpu::ImageView& view) {
  if (out.is_none()) return py::array_t<uint8_t>({view.height, view.width, int64_t{3}});
  py::array array = output_argument(out, "out", "uint8");
  const bool fits = array.ndim() == 3 && array.shape(0) == view.height &&
                    array.shape(1) == view.width && array.shape(2) == 3;
  if (!fits || !is_dense_from(array, 0)) {
    fail_value("out", shape_text(array) + (fits ? ", not C-contiguous" : ""),
               "is C-contiguous (" + std::to_string(view.height) + ", " +
                   std::to_string(view.width) + ", 3)");
  }
  check_apart(array, image, "image");
  return array;
}

py::array normalize(const py::object& image, double low, double high, int threads,
                    const py::object& out) {
  const py::array array = array_argument(image, "image");
  const cpu::ImageView view = image_view(array, "image");
  check_memory(array, "image");
  check_threads(threads);
  const float low_limit = limit_argument(low, "low");
  const float high_limit = limit_argument(high, "high");
  py::array result = rgb_output(out, array, view);
  auto* bytes = static_cast<uint8_t*>(result.mutable_data());
  const GilReleased release;
  cpu::normalize(view, low_limit, high_limit, bytes, threads);
  return result;
}

}  // namespace

void register_normalize(py::module_& module) {
  module.def("check_image", check_image, py::arg("image"), kCheckImage);
  module.def("percentiles", percentiles, py::arg("image"), py::arg("low"), py::arg("high"),
             py::arg("threads") = 1, kPercentiles);
  module.def("normalize", normalize, py::arg("image"), py::arg("low"), py::arg("high"),
             py::arg("threads") = 1, py::arg("out") = py::none(), kNormalize);
}

}  // namespace nucleiseg::bindings
