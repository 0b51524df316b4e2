#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings/registry.h"
#include "cpu/simd/processor.h"
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
  const cpu::Processor& has = cpu::whole_processor();
  const std::pair<const char*, bool> known[] = {
      {"avx2", has.avx2},
      {"avxvnni", has.avx_vnni},
      {"avx512", has.avx512},
      {"avx512vnni", has.avx512_vnni},
      {"avx512vbmi", has.avx512_vbmi},
      {"amx", has.amx},
      {"neon", has.neon},
      {"neondot", has.dot_product},
  };
  std::vector<std::string> names;
  for (const auto& [name, there] : known) {
    if (there) names.emplace_back(name);
  }
  return names;
}

constexpr const char* kFeatures = R"(The instruction sets that the kernels use and the CPU has.

Returns
-------
dict
    ``architecture``: str; ``level``: str, the kernels in use; ``levels``: list of str, those that
    this CPU can run, weakest first; ``cpu``: list of str, what the CPU has.
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

void register_features(py::module_& module) { module.def("features", features, kFeatures); }

}  // namespace nucleiseg::bindings
