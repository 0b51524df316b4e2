#include "cuda/label.h"

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "cpp/bindings/device/arrays.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

constexpr const char* kLabel = R"(Separate the nuclei and number them.

As ``cpu.label``, on the device. Does not wait.

Parameters
----------
maps : Buffer or anything with ``__cuda_array_interface__``
    (H, W, 2) uint8 with any strides.
nucleus_threshold, marker_threshold, prominence, min_area, min_peak, min_probability : int
    See ``cpu.label``.
stream : Stream
workspace : Buffer or anything with ``__cuda_array_interface__``
    At least ``label_workspace(H, W)`` bytes, used until the stream has come past.
out : Buffer or anything with ``__cuda_array_interface__``, optional
    (H, W) int32, C-contiguous; a new one where it is not given.
count : Buffer or anything with ``__cuda_array_interface__``, optional
    (1,) int32; a new one where it is not given.

Returns
-------
labels : Buffer
    (H, W) int32.
count : Buffer
    (1,) int32: how many nuclei there are.
)";

constexpr const char* kLabelWorkspace =
    "Bytes of workspace that `label` needs for (height, width) maps.";

size_t label_workspace(int64_t height, int64_t width) {
  if (height < 1 || width < 1 || height > INT32_MAX / width) {
    fail_value("height, width", std::to_string(height) + ", " + std::to_string(width),
               "are 1 or more, and fewer than 2**31 pixels");
  }
  const GilReleased release;
  return device::label_workspace(height, width);
}

py::tuple label(const py::object& maps, int nucleus_threshold, int marker_threshold, int prominence,
                int64_t min_area, int min_peak, int min_probability, const Merging& merging,
                const StreamPointer& stream, const py::object& workspace, const py::object& out,
                const py::object& count) {
  const BufferPointer input = buffer_argument(maps, "maps", *stream);
  const py::array array = maps_argument(outline(*input));
  const kernels::LabelRule rule = label_rule(nucleus_threshold, marker_threshold, prominence,
                                             min_area, min_peak, min_probability, merging);
  check_pixel_count(array);
  const ImageView view = maps_view(array);
  const BufferPointer scratch =
      workspace_argument(workspace, device::label_workspace(view.height, view.width), *stream);
  const BufferPointer labels =
      output_buffer(out, "out", {view.height, view.width}, "int32", 0, *stream);
  const BufferPointer number = output_buffer(count, "count", {1}, "int32", 0, *stream);
  check_apart(*labels, *input, "maps");
  check_apart(*labels, *scratch, "workspace");
  {
    const GilReleased release;
    device::label(view, rule, static_cast<int32_t*>(labels->data),
                  static_cast<int32_t*>(number->data), scratch->data, stream->handle());
  }
  return py::make_tuple(labels, number);
}

const DeviceBinding kLabelBinding([](py::module_& module) {
  module.def("label_workspace", label_workspace, py::arg("height"), py::arg("width"),
             kLabelWorkspace);
  module.def("label", label, py::arg("maps"), py::arg("nucleus_threshold"),
             py::arg("marker_threshold"), py::arg("prominence"), py::arg("min_area"),
             py::arg("min_peak") = 0, py::arg("min_probability") = 0,
             py::arg("merging") = py::none(), py::kw_only(), py::arg("stream").none(false),
             py::arg("workspace"), py::arg("out") = py::none(), py::arg("count") = py::none(),
             kLabel);
});

}  // namespace
}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
