// Checks of the arguments: each message names the argument, what came and what is accepted.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <new>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "cpu/image.h"
#include "cpu/measure/labels.h"
#include "kernels/label.h"

namespace nucleiseg::bindings {

namespace py = pybind11;

// Row after row, each value at a multiple of its size: what C++ may read as an array of T.
template <class T>
using DenseArray = py::array_t<T, py::array::c_style | py::array::forcecast |
                                      py::detail::npy_api::NPY_ARRAY_ALIGNED_>;

// Copies what lies otherwise; MemoryError where there is no room for that.
template <class T>
DenseArray<T> dense_array(const py::array& array) {
  auto dense = DenseArray<T>::ensure(array);
  if (!dense) throw std::bad_alloc();
  return dense;
}

[[noreturn]] void fail_value(const std::string& name, const std::string& got,
                             const std::string& accepted);

std::string shape_text(const py::array& array);

// Pixels of a side. Up to here a nucleus's sums of squared coordinates fit 64 bits.
constexpr int64_t kMaxSide = int64_t{1} << 17;

// The longest side and the most pixels of what is resized at once.
constexpr int64_t kMaxResizedSide = int64_t{1} << 20;
constexpr int64_t kMaxResizedPixels = int64_t{1} << 31;

constexpr int kMostThreads = 1024;  // of one call; each is a thread of the system
void check_threads(int threads);
void check_percentages(double low, double high);
float limit_argument(double value, const char* name);
float ceiling_argument(double value);
uint8_t byte_argument(int64_t value, const char* name);

// The array in the machine's byte order (copied only where that differs); TypeError for what is no
// array.
py::array array_argument(py::handle value, const char* name);

// As above, of exactly this dtype.
py::array array_argument(py::handle value, const char* name, const char* dtype);

// An array that results are written into: as above, writable, never copied.
py::array output_argument(py::handle value, const char* name, const char* dtype);

void check_not_empty(const py::array& array, const char* name);
// Refuses a large view that repeats its memory, such as one that was broadcast: whatever is made of
// it could exceed any memory and take any time.
void check_memory(const py::array& array, const char* name);

void check_apart(const py::array& out, const py::array& input, const char* input_name);

// A grey or colour image; alpha is left out of the view.
cpu::ImageView image_view(const py::array& image, const char* name);

// An image of up to 1024 channels, all in the view: (H, W) or (H, W, C).
cpu::ImageView channels_view(const py::array& image, const char* name);

// (H, W, 2) uint8: nucleus probability and centre distance.
py::array maps_argument(py::handle value);
cpu::ImageView maps_view(const py::array& maps);
void check_pixel_count(const py::array& maps);

// The area of a pixel in the network's pixels, the most prominence of what merges, and the weights
// of kernels::MergeRule in order.
using Merging = std::optional<std::tuple<double, int64_t, std::vector<int64_t>>>;

kernels::LabelRule label_rule(int64_t nucleus_threshold, int64_t marker_threshold,
                              int64_t prominence, int64_t min_area, int64_t min_peak,
                              int64_t min_probability, const Merging& merging);

// value(i) for i = 0..count - 1.
template <class T, class Function>
py::array_t<T> column(size_t count, Function&& value) {
  py::array_t<T> result(static_cast<py::ssize_t>(count));
  T* out = result.mutable_data();
  for (size_t i = 0; i < count; ++i) out[i] = value(i);
  return result;
}

// (H, W) int32 row after row, copied only where it lies otherwise; what it views must outlive it.
py::array labels_argument(py::handle value);
cpu::LabelView labels_view(const py::array& labels);

// The greatest label; refuses negative ones, and ids out of all proportion to the image.
int32_t label_count(const cpu::LabelView& labels, int threads);

// Refuses sizes that are not `least` to kMaxResizedSide.
void check_size(int64_t value, int64_t least, const char* name);

// Refuses more than 2**32 bytes, and a product that overflows.
void check_bytes(const std::vector<int64_t>& sizes, const char* name);

// (n,) of exactly this dtype, as a C++ vector of the same values.
std::vector<float> floats_argument(py::handle value, const char* name);

// Do the bytes of the last axes, from `axis` on, lie side by side?
bool is_dense_from(const py::array& array, py::ssize_t axis);

// (N, h, w, 3) uint8 without gaps, whose sides are multiples of the stride.
void check_tiles(const py::array& tiles, int64_t stride);

}  // namespace nucleiseg::bindings
