#include "bindings/device/registry.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {

void register_all(pybind11::module_& module) {
  register_devices(module);
  register_streams(module);
  register_buffers(module);
  register_copies(module);
  register_label(module);
  register_mask(module);
  register_network(module);
  register_normalize(module);
  register_pipeline(module);
  register_tiles(module);
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
