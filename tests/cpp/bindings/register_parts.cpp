#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "cpp/bindings/registry.h"
#include "cpu/network/network.h"
#include "cpu/simd/rows.h"
#include "cpu/tiles/enlarge.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kSetLevel = R"(Choose the kernels' instruction set, for the whole process.

All levels give the same bits; this is how the tests prove it. ``level`` is one of
``features()["levels"]``, or ValueError is raised.
)";

constexpr const char* kExercise = R"(Multiply as the network does, but in registers alone.

No network can be faster, so the time that this takes is the measure of one.

Parameters
----------
times : int
    How often, at least 1: 10,000 take some microseconds.
level : str, optional
    One of ``convolution_levels()``; the best when empty.

Returns
-------
int
    The multiplications, of which each was followed by an addition.
)";

constexpr const char* kEnlargeMaps = R"(Enlarge maps by bilinear interpolation.

Parameters
----------
maps : numpy.ndarray
    (h, w, 2) uint8 with any strides.
height, width : int
    Neither below h and w.
threads : int

Returns
-------
numpy.ndarray
    (height, width, 2) uint8: bit for bit what OpenCV's ``INTER_LINEAR`` gives.
)";

int64_t exercise(int64_t times, const std::string& level) {
  if (times < 1) fail_value("times", std::to_string(times), "are whole numbers from 1 on");
  const cpu::Convolution& one = cpu::convolution(level);
  const GilReleased release;
  return one.exercise(times);
}

py::array enlarge_maps(const py::object& maps, int64_t height, int64_t width, int threads) {
  const py::array array = maps_argument(maps);
  check_memory(array, "maps");
  check_threads(threads);
  check_size(height, array.shape(0), "height");
  check_size(width, array.shape(1), "width");
  check_bytes({height, width, 2}, "height, width");
  py::array_t<uint8_t> result({height, width, int64_t{2}});
  uint8_t* out = result.mutable_data();
  const cpu::ImageView view = maps_view(array);
  const GilReleased release;
  cpu::enlarge_maps(view, height, width, out, threads);
  return std::move(result);
}

}  // namespace

void register_parts(py::module_& module) {
  CpuBinding::register_all(module);
  module.def("set_simd_level", cpu::set_level, py::arg("level"), kSetLevel);
  module.def("exercise", exercise, py::arg("times"), py::arg("level") = "", kExercise);
  module.def("enlarge_maps", enlarge_maps, py::arg("maps"), py::arg("height"), py::arg("width"),
             py::arg("threads") = 1, kEnlargeMaps);
}

}  // namespace nucleiseg::bindings
