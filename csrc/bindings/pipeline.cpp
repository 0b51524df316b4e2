#include "pipeline/pipeline.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/registry.h"
#include "bindings/results.h"

namespace nucleiseg::bindings {
namespace {

using pipeline::CpuDevice;
using pipeline::Outputs;
using pipeline::Pipeline;
using pipeline::Size;

constexpr const char* kDevice = R"(The processor: a network, and threads that calls share.

A call that is alone uses all threads; calls in progress at once divide them.

Parameters
----------
network : Network
    Complete.
threads : int
    1 to 1024.
)";

constexpr const char* kPipeline =
    R"(The way from an image to its mask, labels and maps, on the processor.

Calls may come from several threads at once, and release Python's lock while they work.

Parameters
----------
device : Device
stride, halo, tile, batch : int
    See ``nucleiseg.Segmenter`` and ``nucleiseg.Model``.
percentiles : tuple of float
    Of a full field, that become 0 and 255.
rule : tuple of int
    ``nucleus_threshold, marker_threshold, prominence, min_area, min_peak`` at scale 1.
)";

constexpr const char* kRun = R"(Return outputs of an image.

Parameters
----------
image : numpy.ndarray
    (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, int16, float32 or float64.
outputs : sequence of {"mask", "labels", "maps"}
scale : float
    The network sees the image shrunk by this factor.
limits : tuple of float, optional
    ``low, high, ceiling, apart`` of the image that this one is a part of; its own when left out.

Returns
-------
outputs : tuple of numpy.ndarray
    (H, W) bool, (H, W) int32 and (H, W, 2) uint8.
limits : tuple of float

Raises
------
TypeError
    If the dtype is not accepted.
ValueError
    If the image is empty, too large, of another shape, or has values that are not finite.
)";

constexpr const char* kMaps = R"(Return the maps of an image as the network sees it.

Parameters
----------
image : numpy.ndarray
scale : float
limits : tuple of float, optional
    As of `run`.

Returns
-------
maps : numpy.ndarray
    (H / scale, W / scale, 2) uint8.
limits : tuple of float

Raises
------
TypeError, ValueError
    As of `run`.
)";

constexpr const char* kDecode = R"(Return outputs of maps.

Parameters
----------
maps : numpy.ndarray
    (h, w, 2) uint8.
outputs : sequence of {"mask", "labels", "maps"}
scale : float
    That of the maps.
shape : tuple of int, optional
    Height and width of the image, and of the outputs; those of the maps when left out.

Returns
-------
tuple of numpy.ndarray

Raises
------
TypeError
    If the maps are not uint8.
ValueError
    If they are of another shape.
)";

constexpr const char* kTimes =
    R"(Seconds that all calls so far have spent on "prepare" (limits, normalise, tiles), "infer",
"assemble" and "decode", and the "pixels" that the network was given.)";

using FourNumbers = std::array<double, 4>;

constexpr double kMostScale = 64;
constexpr int64_t kMostSide = int64_t{1} << 20;  // where the image is resized
constexpr int64_t kMostPixels = int64_t{1} << 31;

void check_scale(double scale, const Size& image) {
  if (!(scale >= 1 / kMostScale && scale <= kMostScale)) {
    fail_value("scale", std::to_string(scale), "are numbers from 1/64 to 64");
  }
  const Size seen = size_at(image, scale);
  const bool resized_fits = scale == 1 || std::max(seen.height, seen.width) <= kMostSide;
  if (!resized_fits || seen.height > kMostPixels / seen.width) {
    fail_value("image",
               std::to_string(seen.height) + " x " + std::to_string(seen.width) +
                   " pixels as the network would see it",
               "are fewer than 2**31, and sides of up to 2**20 where it is resized");
  }
}

void check_labels(const Outputs& outputs, const Size& size, const char* name) {
  if (outputs.labels && size.height > (kMostPixels - 1) / size.width) {
    fail_value(name, std::to_string(size.height) + " x " + std::to_string(size.width) + " pixels",
               "are fewer than 2**31");
  }
}

std::optional<cpu::Limits> limits_argument(const std::optional<FourNumbers>& limits) {
  if (!limits) return std::nullopt;
  limit_argument((*limits)[0], "limits");
  limit_argument((*limits)[1], "limits");
  ceiling_argument((*limits)[2]);
  return cpu::Limits{(*limits)[0], (*limits)[1], (*limits)[2], (*limits)[3]};
}

py::tuple limits_tuple(const cpu::Limits& limits) {
  return py::make_tuple(limits.low, limits.high, limits.ceiling, limits.apart);
}

py::tuple run(Pipeline& self, const py::object& image, const py::object& outputs, double scale,
              const std::optional<FourNumbers>& limits) {
  const py::array array = array_argument(image, "image");
  const cpu::ImageView view = image_view(array, "image");
  check_memory(array, "image");
  const Size size = {view.height, view.width};
  check_scale(scale, size);
  const std::optional<cpu::Limits> given = limits_argument(limits);
  Results results(outputs, size);
  check_labels(results.outputs(), size, "image");
  cpu::Limits found;
  {
    const GilReleased release;
    found = self.run(view, scale, given, results.outputs());
  }
  return py::make_tuple(results.arrays(), limits_tuple(found));
}

py::tuple maps(Pipeline& self, const py::object& image, double scale,
               const std::optional<FourNumbers>& limits) {
  const py::array array = array_argument(image, "image");
  const cpu::ImageView view = image_view(array, "image");
  check_memory(array, "image");
  check_scale(scale, {view.height, view.width});
  const std::optional<cpu::Limits> given = limits_argument(limits);
  const Size seen = pipeline::size_at({view.height, view.width}, scale);
  py::array_t<uint8_t> result({seen.height, seen.width, int64_t{2}});
  uint8_t* const out = result.mutable_data();
  cpu::Limits found;
  {
    const GilReleased release;
    found = self.maps(view, scale, given, out);
  }
  return py::make_tuple(result, limits_tuple(found));
}

py::tuple decode(Pipeline& self, const py::object& maps, const py::object& outputs, double scale,
                 const std::optional<std::array<int64_t, 2>>& shape) {
  const py::array array = maps_argument(maps);
  check_memory(array, "maps");
  const Size seen = {array.shape(0), array.shape(1)};
  const Size size = shape ? Size{(*shape)[0], (*shape)[1]} : seen;
  const auto text = [](const Size& one) {
    return std::to_string(one.height) + " x " + std::to_string(one.width);
  };
  const bool grows = size.height >= seen.height && size.width >= seen.width;
  const bool shrinks = size.height <= seen.height && size.width <= seen.width;
  check_scale(scale, seen);
  if (size.height < 1 || size.width < 1 || !(scale >= 1 ? grows : shrinks || size == seen)) {
    fail_value("shape", text(size) + " for maps of " + text(seen),
               "is one that is not smaller, or for a scale below 1 not larger");
  }
  check_scale(1, size);
  Results results(outputs, size);
  check_labels(results.outputs(), seen, "maps");
  check_labels(results.outputs(), size, "shape");
  const cpu::ImageView view = maps_view(array);
  {
    const GilReleased release;
    self.decode(view, size, scale, results.outputs());
  }
  return results.arrays();
}

py::dict times(const CpuDevice& self) {
  using pipeline::Part;
  CpuDevice& device = const_cast<CpuDevice&>(self);
  py::dict found;
  found["prepare"] = device.times().seconds(Part::kPrepare);
  found["infer"] = device.times().seconds(Part::kInfer);
  found["assemble"] = device.times().seconds(Part::kAssemble);
  found["decode"] = device.times().seconds(Part::kDecode);
  found["pixels"] = device.times().pixels();
  return found;
}

void check_at_least(int64_t value, int64_t least, const char* name) {
  if (value < least || value > kMostSide) {
    fail_value(name, std::to_string(value),
               "is " + std::to_string(least) + " to " + std::to_string(kMostSide));
  }
}

std::unique_ptr<Pipeline> make_pipeline(const std::shared_ptr<CpuDevice>& device, int64_t stride,
                                        int64_t halo, int64_t tile, int64_t batch,
                                        const std::array<double, 2>& percentiles,
                                        const FiveNumbers& rule) {
  check_at_least(stride, device->network().stride(), "stride");
  check_at_least(halo, 0, "halo");
  check_at_least(tile, 2 * halo + stride, "tile");
  check_at_least(batch, 1, "batch");
  if (stride % device->network().stride() != 0 || halo % stride != 0 || tile % stride != 0) {
    fail_value("stride, halo, tile",
               std::to_string(stride) + ", " + std::to_string(halo) + ", " + std::to_string(tile),
               "are multiples of the network's stride, and of the stride");
  }
  check_percentages(percentiles[0], percentiles[1]);
  return std::make_unique<Pipeline>(
      device, pipeline::Settings{stride, halo, tile, batch, percentiles[0], percentiles[1],
                                 rule_argument(rule)});
}

std::shared_ptr<CpuDevice> make_device(const std::shared_ptr<cpu::Network>& network, int threads) {
  check_threads(threads);
  if (!network->is_complete()) {
    fail_value("network", "one without a last layer", "is a complete one");
  }
  return std::make_shared<CpuDevice>(network, threads);
}

}  // namespace

Results::Results(const py::object& names, const Size& size) {
  constexpr size_t kMost = 3;
  const char* const accepted = "is a sequence of up to three of 'mask', 'labels' and 'maps'";
  if (!py::isinstance<py::sequence>(names) || py::isinstance<py::str>(names)) {
    throw py::type_error(std::string("outputs: accepted ") + accepted);
  }
  const auto sequence = py::reinterpret_borrow<py::sequence>(names);
  const size_t count = sequence.size();
  if (count > kMost) fail_value("outputs", std::to_string(count) + " of them", accepted);
  for (size_t i = 0; i < count; ++i) {
    const py::object name = sequence[i];
    if (!py::isinstance<py::str>(name)) {
      throw py::type_error(std::string("outputs: accepted ") + accepted);
    }
    arrays_.append(make(name.cast<std::string>(), size));
  }
}

py::array Results::make(const std::string& name, const Size& size) {
  const bool is_there = (name == "mask" && outputs_.mask) || (name == "maps" && outputs_.maps) ||
                        (name == "labels" && outputs_.labels);
  if (is_there) fail_value("outputs", "'" + name + "' twice", "is each of them once");
  if (name == "mask") {
    py::array_t<bool> mask({size.height, size.width});
    outputs_.mask = reinterpret_cast<uint8_t*>(mask.mutable_data());
    return std::move(mask);
  }
  if (name == "labels") {
    // numpy.zeros leaves the zeroing to the system, page by page.
    auto labels = py::module_::import("numpy")
                      .attr("zeros")(py::make_tuple(size.height, size.width), "int32")
                      .cast<py::array_t<int32_t>>();
    outputs_.labels = labels.mutable_data();
    return std::move(labels);
  }
  if (name == "maps") {
    py::array_t<uint8_t> maps({size.height, size.width, int64_t{2}});
    outputs_.maps = maps.mutable_data();
    return std::move(maps);
  }
  fail_value("outputs", "'" + name + "'", "are 'mask', 'labels' and 'maps'");
}

kernels::LabelRule rule_argument(const FiveNumbers& rule) {
  const auto byte = [&](size_t i) {
    return static_cast<int>(std::clamp<int64_t>(rule[i], -1, 256));
  };
  return label_rule(byte(0), byte(1), byte(2), rule[3], byte(4));
}

void register_pipeline(py::module_& module) {
  py::class_<CpuDevice, std::shared_ptr<CpuDevice>>(module, "Device", kDevice)
      .def(py::init(&make_device), py::arg("network").none(false), py::arg("threads"))
      .def_property_readonly("threads", &CpuDevice::threads)
      .def_property_readonly("level", [](const CpuDevice& self) { return self.network().level(); })
      .def("times", times, kTimes);
  py::class_<Pipeline>(module, "Pipeline", kPipeline)
      .def(py::init(&make_pipeline), py::arg("device").none(false), py::kw_only(),
           py::arg("stride"), py::arg("halo"), py::arg("tile"), py::arg("batch"),
           py::arg("percentiles"), py::arg("rule"))
      .def_property(
          "whole", [](const Pipeline& self) { return self.settings().whole; }, &Pipeline::set_whole,
          "Pixels of the maps of a magnified image that are made in one piece.")
      .def("run", run, py::arg("image"), py::arg("outputs"), py::arg("scale") = 1.0,
           py::arg("limits") = py::none(), kRun)
      .def("maps", maps, py::arg("image"), py::arg("scale") = 1.0, py::arg("limits") = py::none(),
           kMaps)
      .def("decode", decode, py::arg("maps"), py::arg("outputs"), py::arg("scale") = 1.0,
           py::arg("shape") = py::none(), kDecode);
}

}  // namespace nucleiseg::bindings
