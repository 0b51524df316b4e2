// Bindings that only the tests call, in builds with NUCLEISEG_TEST_BINDINGS. A file registers its
// own with a constant at namespace scope, so no list names it. Its object belongs to the module and
// to no static library, from which a linker would leave it out.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

namespace nucleiseg::bindings {

template <class Module>
class TestBinding {
 public:
  using Register = void (*)(pybind11::module_&);

  explicit TestBinding(Register add) { all().push_back(add); }

  static void register_all(pybind11::module_& module) {
    for (const Register add : all()) add(module);
  }

 private:
  static std::vector<Register>& all() {
    static std::vector<Register> known;
    return known;
  }
};

using CpuBinding = TestBinding<struct CpuModule>;

#if defined(NUCLEISEG_DEVICE)
namespace NUCLEISEG_DEVICE {
using DeviceBinding = TestBinding<struct DeviceModule>;
}
#endif

}  // namespace nucleiseg::bindings
