#include "cuda/normalize.h"

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "cpp/bindings/device/arrays.h"
#include "cpu/normalize/normalize.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

constexpr const char* kLimits = R"(Return the two intensities that become 0 and 255, on the device.

As ``cpu.limits``. Does not wait, so the values are not known yet: `normalize` takes them as they are,
and `check_limits` reads them.

Parameters
----------
image : Buffer or anything with ``__cuda_array_interface__``
    Shapes and dtypes as ``cpu.limits`` takes them, with any strides.
low, high : float
    Percentages, 0 <= low <= high <= 100.
stream : Stream
workspace : Buffer or anything with ``__cuda_array_interface__``
    At least ``limits_workspace()`` bytes, used until the stream has come past.
out : Buffer or anything with ``__cuda_array_interface__``, optional
    (6,) float64; a new one where it is not given.

Returns
-------
Buffer
    (6,) float64: what ``cpu.limits`` returns, how many values are not finite, and how many are
    beyond float32.
)";

constexpr const char* kCheckLimits = R"(Return what `limits` found, once it is on the host.

Parameters
----------
limits : numpy.ndarray
    (6,) float64.
values : int
    How many colour values the image has.

Returns
-------
low, high, ceiling, apart : float
    As ``cpu.limits`` returns them.

Raises
------
ValueError
    As ``cpu.limits`` where values are not finite.
)";

constexpr const char* kNormalize =
    R"(Return an image with low..high mapped to 0..255, in three channels.

As ``cpu.normalize``, on the device. Does not wait.

Parameters
----------
image : Buffer or anything with ``__cuda_array_interface__``
    Shapes and dtypes as ``cpu.normalize`` takes them, with any strides.
limits : Buffer or anything with ``__cuda_array_interface__``
    (6,) float64, as `limits` returns them.
stream : Stream
out : Buffer or anything with ``__cuda_array_interface__``, optional
    (H, W, 3) uint8, C-contiguous; a new one where it is not given.

Returns
-------
Buffer
    (H, W, 3) uint8.
)";

constexpr const char* kLimitsWorkspace = "Bytes of workspace that `limits` needs for any image.";

static_assert(sizeof(device::Limits) == 6 * sizeof(double), "it is seen as (6,) float64");
const Sizes kLimitsShape = {6};

BufferPointer limits(const py::object& image, double low, double high, const StreamPointer& stream,
                     const py::object& workspace, const py::object& out) {
  const BufferPointer input = buffer_argument(image, "image", *stream);
  const ImageView view = image_view(outline(*input), "image");
  check_percentages(low, high);
  const BufferPointer scratch = workspace_argument(workspace, device::limits_workspace(), *stream);
  const BufferPointer found = output_buffer(out, "out", kLimitsShape, "float64", 0, *stream);
  check_apart(*found, *scratch, "workspace");
  const GilReleased release;
  device::limits_of(view, low, high, static_cast<device::Limits*>(found->data), scratch->data,
                    stream->handle());
  return found;
}

py::tuple check_limits(const py::object& limits, uint64_t values) {
  const py::array array = array_argument(limits, "limits", "float64");
  if (array.ndim() != 1 || array.shape(0) != 6) fail_value("limits", shape_text(array), "is (6,)");
  const auto dense = dense_array<double>(array);
  const double* const found = dense.data();
  if (found[4] > 0 || found[5] > 0) {
    cpu::fail_not_finite(static_cast<uint64_t>(found[4]), static_cast<uint64_t>(found[5]), values);
  }
  return py::make_tuple(found[0], found[1], found[2], found[3]);
}

BufferPointer normalize(const py::object& image, const py::object& limits,
                        const StreamPointer& stream, const py::object& out) {
  const BufferPointer input = buffer_argument(image, "image", *stream);
  const ImageView view = image_view(outline(*input), "image");
  const BufferPointer known = output_buffer(limits, "limits", kLimitsShape, "float64", 0, *stream);
  const BufferPointer result =
      output_buffer(out, "out", {view.height, view.width, 3}, "uint8", 0, *stream);
  check_apart(*result, *input, "image");
  const GilReleased release;
  device::normalize(view, static_cast<const device::Limits*>(known->data),
                    static_cast<uint8_t*>(result->data), stream->handle());
  return result;
}

const DeviceBinding kNormalizeBinding([](py::module_& module) {
  module.def("limits_workspace", device::limits_workspace, kLimitsWorkspace);
  module.def("limits", limits, py::arg("image"), py::arg("low"), py::arg("high"), py::kw_only(),
             py::arg("stream").none(false), py::arg("workspace"), py::arg("out") = py::none(),
             kLimits);
  module.def("check_limits", check_limits, py::arg("limits"), py::arg("values"), kCheckLimits);
  module.def("normalize", normalize, py::arg("image"), py::arg("limits").none(false), py::kw_only(),
             py::arg("stream").none(false), py::arg("out") = py::none(), kNormalize);
});

}  // namespace
}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
