#include "bindings/results.h"

#include <algorithm>
#include <type_traits>

#include "kernels/tiles.h"

namespace nucleiseg::bindings {
namespace {

using pipeline::Outputs;
using pipeline::Size;

constexpr double kMostScale = 64;

std::string size_text(const Size& size) {
  return std::to_string(size.height) + " x " + std::to_string(size.width);
}

}  // namespace

std::pair<py::object, void*> host_array(const std::vector<py::ssize_t>& shape, const char* dtype) {
  if (std::string(dtype) == "int32") {
    // numpy.zeros leaves the zeroing to the system, page by page.
    const auto zeros = py::module_::import("numpy").attr("zeros");
    auto array = zeros(py::tuple(py::cast(shape)), dtype).cast<py::array>();
    return {array, array.mutable_data()};
  }
  py::array array(py::dtype(dtype), shape);
  return {array, array.mutable_data()};
}

Results::Results(const py::object& names, const Size& size, const Allocate& allocate) {
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
    arrays_.append(make(name.cast<std::string>(), size, allocate));
  }
}

py::object Results::make(const std::string& name, const Size& size, const Allocate& allocate) {
  std::vector<py::ssize_t> shape = {size.height, size.width};
  const auto make_at = [&](auto*& place, const char* dtype) {
    if (place) fail_value("outputs", "'" + name + "' twice", "is each of them once");
    const auto [array, values] = allocate(shape, dtype);
    place = static_cast<std::decay_t<decltype(place)>>(values);
    return array;
  };
  if (name == "mask") return make_at(outputs_.mask, "bool");
  if (name == "labels") return make_at(outputs_.labels, "int32");
  shape.push_back(kernels::kMapChannels);
  if (name == "maps") return make_at(outputs_.maps, "uint8");
  fail_value("outputs", "'" + name + "'", "are 'mask', 'labels' and 'maps'");
}

std::optional<cpu::Limits> limits_argument(const std::optional<FourNumbers>& limits) {
  if (!limits) return std::nullopt;
  const auto& [low, high, ceiling, apart] = *limits;
  limit_argument(low, "limits");
  limit_argument(high, "limits");
  ceiling_argument(ceiling);
  return cpu::Limits{low, high, ceiling, apart};
}

py::tuple limits_tuple(const cpu::Limits& limits) {
  return py::make_tuple(limits.low, limits.high, limits.ceiling, limits.apart);
}

void check_scale(double scale, const Size& image) {
  if (!(scale >= 1 / kMostScale && scale <= kMostScale)) {
    fail_value("scale", std::to_string(scale), "are numbers from 1/64 to 64");
  }
  const Size seen = size_at(image, scale);
  const bool resized_fits = scale == 1 || std::max(seen.height, seen.width) <= kMaxResizedSide;
  if (!resized_fits || seen.height > kMaxResizedPixels / seen.width) {
    fail_value("image", size_text(seen) + " pixels as the network would see it",
               "are fewer than 2**31, and sides of up to 2**20 where it is resized");
  }
}

void check_labels(const Outputs& outputs, const Size& size, const char* name) {
  if (outputs.labels && size.height > (kMaxResizedPixels - 1) / size.width) {
    fail_value(name, size_text(size) + " pixels", "are fewer than 2**31");
  }
}

Size decoded_size(const Size& maps, double scale,
                  const std::optional<std::array<int64_t, 2>>& shape) {
  const Size size = shape ? Size{(*shape)[0], (*shape)[1]} : maps;
  const bool grows = size.height >= maps.height && size.width >= maps.width;
  const bool shrinks = size.height <= maps.height && size.width <= maps.width;
  check_scale(scale, maps);
  if (size.height < 1 || size.width < 1 || !(scale >= 1 ? grows : shrinks || size == maps)) {
    fail_value("shape", size_text(size) + " for maps of " + size_text(maps),
               "is one that is not smaller, or for a scale below 1 not larger");
  }
  check_scale(1, size);
  return size;
}

pipeline::Settings settings_argument(int64_t unit, int64_t stride, int64_t halo, int64_t tile,
                                     int64_t batch, const std::array<double, 2>& percentiles,
                                     const RuleNumbers& rule) {
  check_size(stride, unit, "stride");
  check_size(halo, 0, "halo");
  check_size(tile, 2 * halo + stride, "tile");
  check_size(batch, 1, "batch");
  if (stride % unit != 0 || halo % stride != 0 || tile % stride != 0) {
    fail_value("stride, halo, tile",
               std::to_string(stride) + ", " + std::to_string(halo) + ", " + std::to_string(tile),
               "are multiples of the network's stride, and of the stride");
  }
  check_percentages(percentiles[0], percentiles[1]);
  return {stride, halo, tile, batch, percentiles[0], percentiles[1], std::apply(label_rule, rule)};
}

}  // namespace nucleiseg::bindings
