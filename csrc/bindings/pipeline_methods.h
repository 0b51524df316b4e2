// A pipeline as Python calls it: the same methods on every device.
//
// `Arrays` is how a device's arrays are read and made: argument() returns an Argument, and
// allocate() is for results, on the host or on the device.
#pragma once

#include <pybind11/stl.h>

#include <memory>

#include "bindings/gil.h"
#include "bindings/results.h"
#include "pipeline/pipeline.h"

namespace nucleiseg::bindings {

// A view of an array, and what keeps it.
struct Argument {
  py::object kept;
  ImageView view;
};

// `name` is "image" or "maps".
ImageView view_as(const py::array& array, const std::string& name);
Argument host_argument(const py::object& value, const char* name);

extern const char* const kPipeline;
extern const char* const kRun;
extern const char* const kMaps;
extern const char* const kLimits;
extern const char* const kDecode;

template <class Device, class Arrays>
struct PipelineMethods {
  using Pipeline = pipeline::Pipeline<Device>;
  using Size = pipeline::Size;

  static std::unique_ptr<Pipeline> make(const std::shared_ptr<Device>& device, int64_t stride,
                                        int64_t halo, int64_t tile, int64_t batch,
                                        const std::array<double, 2>& percentiles,
                                        const RuleNumbers& rule) {
    return std::make_unique<Pipeline>(
        device,
        settings_argument(Arrays::stride(*device), stride, halo, tile, batch, percentiles, rule));
  }

  static py::tuple run(Pipeline& self, const py::object& image, const py::object& outputs,
                       double scale, const std::optional<FourNumbers>& limits, bool to_host) {
    const Argument argument = Arrays::argument(self.device(), image, "image");
    const Size size = pipeline::size_of(argument.view);
    check_scale(scale, size);
    const std::optional<cpu::Limits> given = limits_argument(limits);
    const Results results(outputs, size, Arrays::allocate(self.device(), to_host));
    check_labels(results.outputs(), size, "image");
    cpu::Limits found;
    {
      const GilReleased release;
      found = self.run(argument.view, scale, given, results.outputs());
    }
    return py::make_tuple(results.arrays(), limits_tuple(found));
  }

  static py::tuple maps(Pipeline& self, const py::object& image, double scale,
                        const std::optional<FourNumbers>& limits) {
    const Argument argument = Arrays::argument(self.device(), image, "image");
    const Size size = pipeline::size_of(argument.view);
    check_scale(scale, size);
    const std::optional<cpu::Limits> given = limits_argument(limits);
    const Results results(py::make_tuple("maps"), size_at(size, scale),
                          Arrays::allocate(self.device(), false));
    cpu::Limits found;
    {
      const GilReleased release;
      found = self.maps(argument.view, scale, given, results.outputs());
    }
    return py::make_tuple(results.arrays()[0], limits_tuple(found));
  }

  static py::tuple limits(Pipeline& self, const py::object& image) {
    const Argument argument = Arrays::argument(self.device(), image, "image");
    cpu::Limits found;
    {
      const GilReleased release;
      found = self.limits(argument.view);
    }
    return limits_tuple(found);
  }

  static py::tuple decode(Pipeline& self, const py::object& maps, const py::object& outputs,
                          double scale, const std::optional<std::array<int64_t, 2>>& shape,
                          bool to_host) {
    const Argument argument = Arrays::argument(self.device(), maps, "maps");
    const Size seen = pipeline::size_of(argument.view);
    const Size size = decoded_size(seen, scale, shape);
    const Results results(outputs, size, Arrays::allocate(self.device(), to_host));
    check_labels(results.outputs(), seen, "maps");
    check_labels(results.outputs(), size, "shape");
    {
      const GilReleased release;
      self.decode(argument.view, size, scale, results.outputs());
    }
    return results.arrays();
  }

  static py::class_<Pipeline> add(py::module_& module) {
    py::class_<Pipeline> bound(module, "Pipeline", kPipeline);
    bound
        .def(py::init(&make), py::arg("device").none(false), py::kw_only(), py::arg("stride"),
             py::arg("halo"), py::arg("tile"), py::arg("batch"), py::arg("percentiles"),
             py::arg("rule"))
        .def_property(
            "whole", [](const Pipeline& self) { return self.settings().whole; },
            &Pipeline::set_whole,
            "Pixels of the maps of a resized image up to which they are made in one piece.")
        .def("run", run, py::arg("image"), py::arg("outputs"), py::arg("scale") = 1.0,
             py::arg("limits") = py::none(), py::arg("to_host") = true, kRun)
        .def("maps", maps, py::arg("image"), py::arg("scale") = 1.0, py::arg("limits") = py::none(),
             kMaps)
        .def("limits", limits, py::arg("image"), kLimits)
        .def("decode", decode, py::arg("maps"), py::arg("outputs"), py::arg("scale") = 1.0,
             py::arg("shape") = py::none(), py::arg("to_host") = true, kDecode);
    return bound;
  }
};

}  // namespace nucleiseg::bindings
