// Arrays that a pipeline writes to, and the rule that it labels by.
#pragma once

#include <array>
#include <string>

#include "bindings/arguments.h"
#include "pipeline/settings.h"

namespace nucleiseg::bindings {

// NumPy arrays for outputs, in the order in which they are wanted.
class Results {
 public:
  // `names` is a sequence of up to three names.
  Results(const py::object& names, const pipeline::Size& size);

  const pipeline::Outputs& outputs() const { return outputs_; }
  py::tuple arrays() const { return py::tuple(arrays_); }

 private:
  py::array make(const std::string& name, const pipeline::Size& size);

  py::list arrays_;
  pipeline::Outputs outputs_;
};

// nucleus_threshold, marker_threshold, prominence, min_area, min_peak.
using FiveNumbers = std::array<int64_t, 5>;
kernels::LabelRule rule_argument(const FiveNumbers& rule);

}  // namespace nucleiseg::bindings
