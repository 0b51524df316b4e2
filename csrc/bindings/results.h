// What the bindings of every device's pipeline check, and the arrays that a pipeline writes to.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/arguments.h"
#include "cpu/normalize/normalize.h"
#include "pipeline/settings.h"

namespace nucleiseg::bindings {

// Makes an array of a shape and dtype, int32 filled with 0; returns it and where its values are.
using Allocate =
    std::function<std::pair<py::object, void*>(const std::vector<py::ssize_t>&, const char*)>;

// By NumPy.
std::pair<py::object, void*> host_array(const std::vector<py::ssize_t>& shape, const char* dtype);

// Arrays for outputs, in the order in which they are wanted.
class Results {
 public:
  // `names` is a sequence of up to three names.
  Results(const py::object& names, const pipeline::Size& size,
          const Allocate& allocate = host_array);

  const pipeline::Outputs& outputs() const { return outputs_; }
  py::tuple arrays() const { return py::tuple(arrays_); }

 private:
  py::object make(const std::string& name, const pipeline::Size& size, const Allocate& allocate);

  py::list arrays_;
  pipeline::Outputs outputs_;
};

// nucleus_threshold, marker_threshold, prominence, min_area, min_peak, min_probability, merging.
using RuleNumbers = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, Merging>;

// low, high, ceiling, apart.
using FourNumbers = std::array<double, 4>;
std::optional<cpu::Limits> limits_argument(const std::optional<FourNumbers>& limits);
py::tuple limits_tuple(const cpu::Limits& limits);

// Of the image, at its own size and as the network sees it.
void check_scale(double scale, const pipeline::Size& image);
// Labels count fewer than 2**31 pixels.
void check_labels(const pipeline::Outputs& outputs, const pipeline::Size& size, const char* name);
// The size of the image whose maps these are: theirs, if no shape is given.
pipeline::Size decoded_size(const pipeline::Size& maps, double scale,
                            const std::optional<std::array<int64_t, 2>>& shape);
// Refuses sizes that do not fit each other; `unit` is the network's stride.
pipeline::Settings settings_argument(int64_t unit, int64_t stride, int64_t halo, int64_t tile,
                                     int64_t batch, const std::array<double, 2>& percentiles,
                                     const RuleNumbers& rule);

}  // namespace nucleiseg::bindings
