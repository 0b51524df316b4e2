#include <algorithm>
#include <cstring>

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/registry.h"
#include "threads/parallel.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kCopy = R"(Copy an array by several threads.

Parameters
----------
out, array : numpy.ndarray
    C-contiguous, of as many bytes.
threads : int
    1 to 1024.
)";

constexpr int64_t kPiece = 1 << 19;  // bytes: above it a thread is worth waking

void copy(const py::array& out, const py::array& array, int threads) {
  py::array target = out;
  if (!is_dense_from(target, 0) || !is_dense_from(array, 0) || target.nbytes() != array.nbytes()) {
    fail_value("out, array", shape_text(target) + " and " + shape_text(array),
               "are C-contiguous ones of as many bytes");
  }
  check_threads(threads);
  auto* to = static_cast<char*>(target.mutable_data());
  const auto* from = static_cast<const char*>(array.data());
  const int64_t bytes = array.nbytes();
  const GilReleased release;
  cpu::parallel_for((bytes + kPiece - 1) / kPiece, 1, threads, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kPiece;
    const int64_t last = std::min(end * kPiece, bytes);
    std::memcpy(to + first, from + first, static_cast<size_t>(last - first));
  });
}

}  // namespace

void register_copy(py::module_& module) {
  module.def("copy", copy, py::arg("out"), py::arg("array"), py::arg("threads"), kCopy);
}

}  // namespace nucleiseg::bindings
