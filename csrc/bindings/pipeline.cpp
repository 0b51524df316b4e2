#include "pipeline/pipeline.h"

#include "bindings/pipeline_methods.h"
#include "bindings/registry.h"
#include "pipeline/cpu_device.h"

namespace nucleiseg::bindings {

const char* const kPipeline =
    R"(The way from an image to its mask, labels and maps, on one device.

Calls may come from several threads at once, and release Python's lock while they work.

Parameters
----------
device : Device
stride, halo, tile, batch : int
    See ``nucleiseg.Segmenter`` and ``nucleiseg.Model``.
percentiles : tuple of float
    Of a full field, that become 0 and 255.
rule : tuple of int
    ``nucleus_threshold, marker_threshold, prominence, min_area, min_peak, min_probability,
    merging`` at scale 1, as `nucleiseg._native.cpu.label` takes them.
)";

const char* const kRun = R"(Return outputs of an image.

Parameters
----------
image : numpy.ndarray or Buffer
    (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, int16, float32 or float64; on a GPU
    also a Buffer of its, which is complete.
outputs : sequence of {"mask", "labels", "maps"}
scale : float
    The network sees the image shrunk by this factor.
limits : tuple of float, optional
    ``low, high, ceiling, apart`` of the image that this one is a part of; its own when left out.
to_host : bool
    False leaves the outputs on a GPU, as Buffers; on the processor it changes nothing.

Returns
-------
outputs : tuple of numpy.ndarray or Buffer
    (H, W) bool, (H, W) int32 and (H, W, 2) uint8.
limits : tuple of float

Raises
------
TypeError
    If the dtype is not accepted.
ValueError
    If the image is empty, too large, of another shape, or has values that are not finite.
)";

const char* const kMaps = R"(Return the maps of an image as the network sees it.

Parameters
----------
image : numpy.ndarray or Buffer
scale : float
limits : tuple of float, optional
    As of `run`.

Returns
-------
maps : numpy.ndarray or Buffer
    (H / scale, W / scale, 2) uint8, on the device.
limits : tuple of float

Raises
------
TypeError, ValueError
    As of `run`.
)";

const char* const kLimits = R"(Return the limits of an image: ``low, high, ceiling, apart``.

Parameters
----------
image : numpy.ndarray or Buffer

Raises
------
TypeError, ValueError
    As of `run`.
)";

const char* const kDecode = R"(Return outputs of maps.

Parameters
----------
maps : numpy.ndarray or Buffer
    (h, w, 2) uint8.
outputs : sequence of {"mask", "labels", "maps"}
scale : float
    That of the maps.
shape : tuple of int, optional
    Height and width of the image, and of the outputs; those of the maps when left out.
to_host : bool
    As of `run`.

Returns
-------
tuple of numpy.ndarray or Buffer

Raises
------
TypeError
    If the maps are not uint8.
ValueError
    If they are of another shape.
)";

ImageView view_as(const py::array& array, const std::string& name) {
  return name == "maps" ? maps_view(maps_argument(array)) : image_view(array, "image");
}

Argument host_argument(const py::object& value, const char* name) {
  const py::array array = array_argument(value, name);
  const ImageView view = view_as(array, name);
  check_memory(array, name);
  return {array, view};
}

namespace {

using pipeline::CpuDevice;

constexpr const char* kDevice = R"(The processor: a network, and threads that calls share.

A call that is alone uses all threads; calls in progress at once divide them.

Parameters
----------
network : Network
    Complete.
threads : int
    1 to 1024.
)";

constexpr const char* kTimes =
    R"(Seconds that all calls so far have spent on "prepare" (limits, normalise, tiles), "infer",
"assemble" and "decode", and the "pixels" that the network was given.)";

constexpr const char* kCheck = R"(Raise what a pipeline would of an array's dtype and shape.

Its values are not read.

Parameters
----------
array : numpy.ndarray
name : {"image", "maps"}
)";

struct HostArrays {
  static int64_t stride(const CpuDevice& device) { return device.network().stride(); }

  static Argument argument(const CpuDevice&, const py::object& value, const char* name) {
    return host_argument(value, name);
  }

  static Allocate allocate(const CpuDevice&, bool) { return host_array; }
};

py::dict times(CpuDevice& device) {
  using pipeline::Part;
  py::dict found;
  found["prepare"] = device.times().seconds(Part::kPrepare);
  found["infer"] = device.times().seconds(Part::kInfer);
  found["assemble"] = device.times().seconds(Part::kAssemble);
  found["decode"] = device.times().seconds(Part::kDecode);
  found["pixels"] = device.times().pixels();
  return found;
}

std::shared_ptr<CpuDevice> make_device(const std::shared_ptr<cpu::Network>& network, int threads) {
  check_threads(threads);
  if (!network->is_complete()) {
    fail_value("network", "one without a last layer", "is a complete one");
  }
  return std::make_shared<CpuDevice>(network, threads);
}

}  // namespace

void register_pipeline(py::module_& module) {
  py::class_<CpuDevice, std::shared_ptr<CpuDevice>>(module, "Device", kDevice)
      .def(py::init(&make_device), py::arg("network").none(false), py::arg("threads"))
      .def("times", times, kTimes);
  module.def(
      "check",
      [](const py::object& array, const std::string& name) {
        view_as(array_argument(array, name.c_str()), name);
      },
      py::arg("array"), py::arg("name"), kCheck);
  PipelineMethods<CpuDevice, HostArrays>::add(module);
}

}  // namespace nucleiseg::bindings
