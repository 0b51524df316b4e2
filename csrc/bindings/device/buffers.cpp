#include "bindings/device/array.h"
#include "bindings/device/registry.h"
#if defined(NUCLEISEG_WITH_TEST_BINDINGS)
#include "cpp/bindings/device/arrays.h"
#endif

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

constexpr const char* kBuffer = R"(An array in the memory of a device.

Anything that reads ``__cuda_array_interface__`` or DLPack (CuPy, PyTorch, JAX, pycuda, Numba) takes
it without a copy. The memory is used again, or freed, when nothing refers to it.
)";

py::dict array_interface(const Buffer& buffer) {
  py::dict found;
  found["version"] = 3;
  found["shape"] = py::tuple(py::cast(buffer.shape));
  found["typestr"] = buffer.dtype.attr("str");
  found["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(buffer.data), buffer.read_only);
  found["strides"] = py::none();
  if (!buffer.is_dense()) found["strides"] = py::tuple(py::cast(buffer.strides));
  found["stream"] = py::none();
  return found;
}

}  // namespace

void register_buffers(py::module_& module) {
  py::class_<Buffer, BufferPointer> buffer(module, "Buffer", kBuffer);
  add_array_methods(buffer, "Buffer");
  buffer.def_property_readonly("__cuda_array_interface__", array_interface)
      .def_readonly("device", &Buffer::device, "CUDA's number of the GPU whose memory it is.");
  add_dlpack(buffer);
#if defined(NUCLEISEG_WITH_TEST_BINDINGS)
  add_test_methods(buffer);
#endif
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
