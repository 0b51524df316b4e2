#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bindings/registry.h"
#include "cpu/simd/rows.h"

namespace nucleiseg::bindings {
namespace {

namespace py = pybind11;

#if defined(__x86_64__)
constexpr const char* kArchitecture = "x86_64";
#elif defined(__aarch64__)
constexpr const char* kArchitecture = "aarch64";
#else
constexpr const char* kArchitecture = "other";
#endif

std::vector<std::string> cpu_has() {
  std::vector<std::string> names;
#if defined(__x86_64__)
#define NUCLEISEG_ADD_IF_SUPPORTED(name) \
  if (__builtin_cpu_supports(name)) names.emplace_back(name)
  NUCLEISEG_ADD_IF_SUPPORTED("sse4.2");
  NUCLEISEG_ADD_IF_SUPPORTED("avx");
  NUCLEISEG_ADD_IF_SUPPORTED("avx2");
  NUCLEISEG_ADD_IF_SUPPORTED("avx512f");
  NUCLEISEG_ADD_IF_SUPPORTED("avx512bw");
  NUCLEISEG_ADD_IF_SUPPORTED("avx512vl");
  NUCLEISEG_ADD_IF_SUPPORTED("avx512dq");
  NUCLEISEG_ADD_IF_SUPPORTED("avx512vnni");
#undef NUCLEISEG_ADD_IF_SUPPORTED
#elif defined(__aarch64__)
  names.emplace_back("neon");
#endif
  return names;
}

constexpr const char* kFeatures = R"(The instruction sets that the kernels use and the CPU has.

Returns
-------
dict
    ``architecture``: str; ``level``: str, the kernels in use; ``levels``: list of str, those that
    this CPU can run, weakest first; ``cpu``: list of str, what the CPU has.
)";

constexpr const char* kSetLevel = R"(Choose the kernels' instruction set, for the whole process.

All levels give the same bits; this is how the tests prove it.

Parameters
----------
level : str
    One of ``features()["levels"]``.

Raises
------
ValueError
    If this CPU cannot run that level.
)";

py::dict features() {
  py::dict found;
  found["architecture"] = kArchitecture;
  found["level"] = cpu::rows().level;
  found["levels"] = cpu::levels();
  found["cpu"] = cpu_has();
  return found;
}

}  // namespace

void register_features(py::module_& module) {
  module.def("features", features, kFeatures);
  module.def("set_simd_level", cpu::set_level, py::arg("level"), kSetLevel);
}

}  // namespace nucleiseg::bindings
