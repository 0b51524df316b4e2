#include "cpu/normalize/normalize.h"

#include <limits>

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/registry.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kFindLimits = R"(Return the two intensities that become 0 and 255.

They are percentiles of all colour values together, with three corrections that leave a field full
of nuclei as it is: values far beyond the others (no data, hot pixels, debris) are set apart; in an
almost empty field the percentiles are those of the nuclei instead of the noise; and an image in
which nothing stands out from the noise is blank.

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
low, high : float
    The limits, values that occur in the image. A blank image has two equal limits.
ceiling : float
    Values above it would be set apart; infinite where no values are, above or below.
apart : float
    The part of the values that is set apart, 0 to 1.

Raises
------
TypeError
    If the dtype is not accepted.
ValueError
    If the image is empty, has another shape, or has values that are not finite in float32.

Notes
-----
``csrc/kernels/limits.h`` defines the rule. A histogram of all values; floats by the order of their
bits (Herf, "Radix Tricks", 2001).
)";

constexpr const char* kNormalize =
    R"(Return an image with low..high mapped to 0..255, in three channels.

Parameters
----------
image : numpy.ndarray
    (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, int16, float32 or float64, with any
    strides. Grey is repeated in all three channels, alpha is dropped.
low, high : float
    The values that become 0 and 255. Where high <= low the output is all 0.
ceiling : float
    Values above it are no intensities and become 0.
threads : int
    How many threads work, 1 to 1024. The result does not depend on it.
out : numpy.ndarray, optional
    (H, W, 3) uint8, writable and C-contiguous, to write into.

Returns
-------
numpy.ndarray
    (H, W, 3) uint8: ``floor((image - low) * (255 / (high - low)) + 0.5)`` limited to 0..255, each
    step rounded to float32. NaN and values above the ceiling become 0. This is `out` where that was given.

Raises
------
TypeError
    If a dtype is not accepted.
ValueError
    If the image is empty, a shape is wrong, a limit is not finite, or `out` cannot be written.
)";

py::tuple limits(const py::object& image, double low, double high, int threads) {
  const py::array array = array_argument(image, "image");
  const cpu::ImageView view = image_view(array, "image");
  check_memory(array, "image");
  check_threads(threads);
  check_percentages(low, high);
  cpu::Limits found;
  {
    const GilReleased release;
    found = cpu::limits(view, low, high, threads);
  }
  return py::make_tuple(found.low, found.high, found.ceiling, found.apart);
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

py::array normalize(const py::object& image, double low, double high, double ceiling, int threads,
                    const py::object& out) {
  const py::array array = array_argument(image, "image");
  const cpu::ImageView view = image_view(array, "image");
  check_memory(array, "image");
  check_threads(threads);
  const float low_limit = limit_argument(low, "low");
  const float high_limit = limit_argument(high, "high");
  const float ceiling_limit = ceiling_argument(ceiling);
  py::array result = rgb_output(out, array, view);
  auto* bytes = static_cast<uint8_t*>(result.mutable_data());
  const GilReleased release;
  cpu::normalize(view, low_limit, high_limit, ceiling_limit, bytes, threads);
  return result;
}

}  // namespace

void register_normalize(py::module_& module) {
  module.def("limits", limits, py::arg("image"), py::arg("low"), py::arg("high"),
             py::arg("threads") = 1, kFindLimits);
  module.def("normalize", normalize, py::arg("image"), py::arg("low"), py::arg("high"),
             py::arg("ceiling") = std::numeric_limits<double>::infinity(), py::arg("threads") = 1,
             py::arg("out") = py::none(), kNormalize);
}

}  // namespace nucleiseg::bindings
