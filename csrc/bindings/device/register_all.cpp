#include "bindings/device/registry.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {

void register_all(pybind11::module_& module) {
  register_devices(module);
  register_buffers(module);
  register_network(module);
  register_pipeline(module);
#if defined(NUCLEISEG_WITH_TEST_BINDINGS)
  register_parts(module);
#endif
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
