#include "bindings/arguments.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace nucleiseg::bindings {
namespace {

std::string dtype_text(const py::array& array) {
  return py::str(array.dtype().attr("name")).cast<std::string>();
}

[[noreturn]] void fail_type(const std::string& name, const std::string& got,
                            const std::string& accepted) {
  throw py::type_error(name + ": got " + got + "; accepted " + accepted);
}

std::string type_text(py::handle value) {
  return py::str(py::type::handle_of(value).attr("__name__")).cast<std::string>();
}

// A row is made for every label up to the greatest, so that one must be no mistake: more nuclei
// than any slide has, or than the image has pixels.
constexpr int64_t kMaxLabel = int64_t{1} << 21;

constexpr py::ssize_t kMaxChannels = 1024;

constexpr int64_t kMaxBytes = int64_t{1} << 32;  // of one result that no input bounds

// Values up to which a view may repeat its memory as it likes, and how often each above that: grey
// as four channels.
constexpr py::ssize_t kFewValues = py::ssize_t{1} << 20;
constexpr double kMostRepeats = 4;

struct NamedType {
  char kind;
  py::ssize_t size;
  cpu::ValueType type;
};

constexpr NamedType kImageTypes[] = {
    {'u', 1, cpu::ValueType::kUint8},   {'u', 2, cpu::ValueType::kUint16},
    {'i', 2, cpu::ValueType::kInt16},   {'f', 4, cpu::ValueType::kFloat32},
    {'f', 8, cpu::ValueType::kFloat64},
};

cpu::ValueType image_type(const py::array& image, const char* name) {
  const py::dtype dtype = image.dtype();
  for (const NamedType& candidate : kImageTypes) {
    if (dtype.kind() == candidate.kind && dtype.itemsize() == candidate.size) return candidate.type;
  }
  fail_type(name, "dtype " + dtype_text(image), "are uint8, uint16, int16, float32 and float64");
}

std::optional<int64_t> colour_channels(const py::array& image) {
  if (image.ndim() == 2) return 1;
  if (image.ndim() != 3) return std::nullopt;
  const py::ssize_t channels = image.shape(2);
  if (channels == 1 || channels == 3) return channels;
  if (channels == 4) return 3;
  return std::nullopt;
}

cpu::ImageView view_of(const py::array& image, cpu::ValueType type, int64_t channels) {
  return {static_cast<const std::byte*>(image.data()),
          type,
          image.shape(0),
          image.shape(1),
          channels,
          image.strides(0),
          image.strides(1),
          image.ndim() == 3 ? image.strides(2) : image.itemsize()};
}

}  // namespace

void fail_value(const std::string& name, const std::string& got, const std::string& accepted) {
  throw py::value_error(name + ": got " + got + "; accepted " + accepted);
}

std::string shape_text(const py::array& array) {
  return "shape " + py::str(array.attr("shape")).cast<std::string>();
}

void check_threads(int threads) {
  if (threads < 1 || threads > kMostThreads) {
    fail_value("threads", std::to_string(threads), "is 1 to " + std::to_string(kMostThreads));
  }
}

void check_percentages(double low, double high) {
  if (!(low >= 0.0 && low <= high && high <= 100.0)) {
    fail_value("low, high", std::to_string(low) + ", " + std::to_string(high),
               "is 0 <= low <= high <= 100");
  }
}

float limit_argument(double value, const char* name) {
  const auto rounded = static_cast<float>(value);
  if (!std::isfinite(rounded)) {
    fail_value(name, std::to_string(value), "is a finite number in the range of float32");
  }
  return rounded;
}

float ceiling_argument(double value) {
  if (std::isnan(value)) fail_value("ceiling", "nan", "is a number, or infinity for none");
  return static_cast<float>(value);
}

uint8_t byte_argument(int64_t value, const char* name) {
  if (value < 0 || value > 255) fail_value(name, std::to_string(value), "is 0 to 255");
  return static_cast<uint8_t>(value);
}

py::array array_argument(py::handle value, const char* name) {
  if (!py::isinstance<py::array>(value)) fail_type(name, type_text(value), "is a NumPy array");
  auto array = py::reinterpret_borrow<py::array>(value);
  if (array.dtype().attr("isnative").cast<bool>()) return array;
  return array.attr("astype")(array.dtype().attr("newbyteorder")("="));
}

py::array array_argument(py::handle value, const char* name, const char* dtype) {
  py::array array = array_argument(value, name);
  if (!array.dtype().equal(py::dtype(dtype))) {
    fail_type(name, "dtype " + dtype_text(array), std::string("is ") + dtype);
  }
  return array;
}

py::array output_argument(py::handle value, const char* name, const char* dtype) {
  py::array array = array_argument(value, name, dtype);
  if (!array.writeable()) fail_value(name, "a read-only array", "is a writable one");
  return array;
}

void check_not_empty(const py::array& array, const char* name) {
  if (array.size() == 0) {
    fail_value(name, shape_text(array) + ", which is empty", "is at least one pixel");
  }
}

void check_memory(const py::array& array, const char* name) {
  if (array.size() <= kFewValues) return;
  const auto item = static_cast<double>(array.itemsize());
  double extent = item;
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    const auto steps = static_cast<double>(array.shape(axis) - 1);
    extent += steps * std::fabs(static_cast<double>(array.strides(axis)));
  }
  if (static_cast<double>(array.size()) * item > kMostRepeats * extent) {
    fail_value(name, shape_text(array) + ", a view that repeats its memory",
               "is an array with memory of its own for each value");
  }
}

void check_apart(const py::array& out, const py::array& input, const char* input_name) {
  const auto numpy = py::module_::import("numpy");
  if (numpy.attr("may_share_memory")(out, input).cast<bool>()) {
    fail_value("out", std::string("memory that ") + input_name + " uses", "is memory of its own");
  }
}

cpu::ImageView image_view(const py::array& image, const char* name) {
  const cpu::ValueType type = image_type(image, name);
  const std::optional<int64_t> channels = colour_channels(image);
  if (!channels) {
    fail_value(name, shape_text(image), "are (H, W), (H, W, 1), (H, W, 3) and (H, W, 4)");
  }
  check_not_empty(image, name);
  return view_of(image, type, *channels);
}

cpu::ImageView channels_view(const py::array& image, const char* name) {
  const cpu::ValueType type = image_type(image, name);
  if (image.ndim() != 2 && image.ndim() != 3) {
    fail_value(name, shape_text(image), "are (H, W) and (H, W, C)");
  }
  check_not_empty(image, name);
  if (image.ndim() == 3 && image.shape(2) > kMaxChannels) {
    fail_value(name, shape_text(image), "are up to " + std::to_string(kMaxChannels) + " channels");
  }
  return view_of(image, type, image.ndim() == 3 ? image.shape(2) : 1);
}

py::array maps_argument(py::handle value) {
  py::array maps = array_argument(value, "maps", "uint8");
  if (maps.ndim() != 3 || maps.shape(2) != 2) fail_value("maps", shape_text(maps), "is (H, W, 2)");
  check_not_empty(maps, "maps");
  return maps;
}

cpu::ImageView maps_view(const py::array& maps) {
  return view_of(maps, cpu::ValueType::kUint8, maps.shape(2));
}

void check_pixel_count(const py::array& maps) {
  if (maps.shape(0) > std::numeric_limits<int32_t>::max() / maps.shape(1)) {
    fail_value("maps", shape_text(maps), "are fewer than 2**31 pixels");
  }
}

kernels::MergeRule merge_rule(const Merging& merging) {
  kernels::MergeRule rule = {};
  if (!merging) return rule;
  const auto& [pixel, prominence, weights] = *merging;
  constexpr size_t kUnits = sizeof rule.units / sizeof(int32_t);
  constexpr size_t kWeights = kUnits + sizeof rule.output / sizeof(int32_t);
  if (!(pixel > 0 && pixel <= 1e9) || prominence < 1 || prominence > 255) {
    fail_value("merging", std::to_string(pixel) + ", " + std::to_string(prominence),
               "begins with an area above 0, up to 1e9, and a prominence of 1 to 255");
  }
  if (weights.size() != kWeights) {
    fail_value("merging", std::to_string(weights.size()) + " weights",
               "has " + std::to_string(kWeights));
  }
  rule.pixel = pixel;
  rule.prominence = static_cast<int32_t>(prominence);
  for (size_t i = 0; i < kWeights; ++i) {
    if (std::abs(weights[i]) > kernels::kMostMergeWeight) {
      fail_value("merging", std::to_string(weights[i]), "has weights from -2**20 to 2**20");
    }
    int32_t* const to = i < kUnits ? rule.units[0] + i : rule.output + (i - kUnits);
    *to = static_cast<int32_t>(weights[i]);
  }
  return rule;
}

kernels::LabelRule label_rule(int64_t nucleus_threshold, int64_t marker_threshold,
                              int64_t prominence, int64_t min_area, int64_t min_peak,
                              int64_t min_probability, const Merging& merging) {
  if (min_area < 0) fail_value("min_area", std::to_string(min_area), "is 0 or more");
  return {byte_argument(nucleus_threshold, "nucleus_threshold"),
          byte_argument(marker_threshold, "marker_threshold"),
          byte_argument(prominence, "prominence"),
          min_area,
          byte_argument(min_peak, "min_peak"),
          byte_argument(min_probability, "min_probability"),
          merge_rule(merging)};
}

py::array labels_argument(py::handle value) {
  const py::array labels = array_argument(value, "labels", "int32");
  if (labels.ndim() != 2) fail_value("labels", shape_text(labels), "is (H, W)");
  check_not_empty(labels, "labels");
  const py::ssize_t longest = std::max(labels.shape(0), labels.shape(1));
  if (longest > kMaxSide ||
      labels.shape(0) > std::numeric_limits<int32_t>::max() / labels.shape(1)) {
    fail_value("labels", shape_text(labels),
               "are fewer than 2**31 pixels, no side of more than 2**17");
  }
  check_memory(labels, "labels");
  // C-contiguous and aligned.
  return py::module_::import("numpy").attr("require")(labels, py::none(), "CA");
}

cpu::LabelView labels_view(const py::array& labels) {
  return {static_cast<const int32_t*>(labels.data()), labels.shape(0), labels.shape(1)};
}

int32_t label_count(const cpu::LabelView& labels, int threads) {
  const cpu::Range range = cpu::label_range(labels, threads);
  const int64_t most = std::max(kMaxLabel, labels.height * labels.width);
  const bool is_negative = range.least < 0;
  if (is_negative || range.greatest > most) {
    fail_value("labels", "the label " + std::to_string(is_negative ? range.least : range.greatest),
               "are 0 to " + std::to_string(most));
  }
  return range.greatest;
}

void check_size(int64_t value, int64_t least, const char* name) {
  if (value < least || value > kMaxResizedSide) {
    fail_value(name, std::to_string(value), "is " + std::to_string(least) + " to 2**20");
  }
}

void check_bytes(const std::vector<int64_t>& sizes, const char* name) {
  int64_t bytes = 1;
  for (const int64_t size : sizes) {
    if (size > 0 && bytes > kMaxBytes / size) {
      fail_value(name, "sizes that need more than " + std::to_string(kMaxBytes) + " bytes",
                 "is a result of up to " + std::to_string(kMaxBytes) + " bytes");
    }
    bytes *= size;
  }
}

std::vector<float> floats_argument(py::handle value, const char* name) {
  const py::array array = array_argument(value, name, "float32");
  if (array.ndim() != 1) fail_value(name, shape_text(array), "is (n,)");
  check_memory(array, name);
  const auto dense = dense_array<float>(array);
  if (!dense) throw py::error_already_set();
  return {dense.data(), dense.data() + dense.size()};
}

bool is_dense_from(const py::array& array, py::ssize_t axis) {
  py::ssize_t stride = array.itemsize();
  for (py::ssize_t i = array.ndim() - 1; i >= axis; --i) {
    if (array.shape(i) != 1 && array.strides(i) != stride) return false;
    stride *= array.shape(i);
  }
  return true;
}

void check_tiles(const py::array& tiles, int64_t stride) {
  const bool fits = tiles.ndim() == 4 && tiles.shape(3) == 3 && tiles.shape(1) % stride == 0 &&
                    tiles.shape(2) % stride == 0 && tiles.size() > 0 && is_dense_from(tiles, 0);
  if (!fits) {
    fail_value("tiles", shape_text(tiles),
               "is C-contiguous (N, h, w, 3), with h and w multiples of " + std::to_string(stride));
  }
}

}  // namespace nucleiseg::bindings
