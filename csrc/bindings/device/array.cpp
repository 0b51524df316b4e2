#include "bindings/device/array.h"

#include <cstdint>

#include "bindings/arguments.h"
#include "cuda/device.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

constexpr const char* kInterface = "__cuda_array_interface__";

void follow(const py::dict& interface, const device::Stream& stream) {
  if (!interface.contains("stream") || py::object(interface["stream"]).is_none()) return;
  const auto number = interface["stream"].cast<uintptr_t>();
  const device::Stream producer(reinterpret_cast<cudaStream_t>(number));
  if (producer.handle() == stream.handle()) return;
  const device::Event event(false);
  event.record(producer);
  stream.wait(event);
}

// The number of the GPU that memory belongs to. What kernels cannot reach would end the process's
// use of the GPU when they do.
int device_of(const void* data, const char* name) {
  const int current = device::current_device();
  const device::Place place = device::place_of(data);
  const std::string accepted = "are those on GPU " + std::to_string(current);
  if (!place.is_reachable) fail_value(name, "an array in the host's memory", accepted);
  if (place.device != current) {
    fail_value(name, "an array on GPU " + std::to_string(place.device), accepted);
  }
  return current;
}

BufferPointer adopt(const py::object& value, const char* name, const device::Stream& stream) {
  const auto interface = value.attr(kInterface).cast<py::dict>();
  const auto data = interface["data"].cast<std::pair<uintptr_t, bool>>();
  const auto dtype = py::dtype::from_args(interface["typestr"]);
  if (!dtype.attr("isnative").cast<bool>()) {
    fail_value(name, "values in the other byte order", "are those in the device's");
  }
  auto buffer = std::make_shared<Buffer>(
      Buffer{{owner_of(value), reinterpret_cast<void*>(data.first), dtype, {}, {}, data.second}});
  for (const py::handle size : interface["shape"])
    buffer->shape.push_back(size.cast<py::ssize_t>());
  buffer->strides = dense_strides(buffer->shape, dtype.itemsize());
  if (interface.contains("strides") && !py::object(interface["strides"]).is_none()) {
    buffer->strides.clear();
    for (const py::handle step : interface["strides"]) {
      buffer->strides.push_back(step.cast<py::ssize_t>());
    }
  }
  buffer->device = buffer->bytes() > 0 ? device_of(buffer->data, name) : device::current_device();
  follow(interface, stream);
  return buffer;
}

}  // namespace

std::shared_ptr<void> owner_of(const py::object& value) {
  return {new py::object(value), [](void* kept) {
            const py::gil_scoped_acquire acquire;
            delete static_cast<py::object*>(kept);
          }};
}

py::ssize_t Array::size() const {
  py::ssize_t count = 1;
  for (const py::ssize_t length : shape) count *= length;
  return count;
}

bool Array::is_dense() const {
  py::ssize_t stride = dtype.itemsize();
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i]) {
    if (shape[i] != 1 && strides[i] != stride) return size() == 0;
  }
  return true;
}

Sizes dense_strides(const Sizes& shape, py::ssize_t itemsize) {
  Sizes strides(shape.size());
  for (size_t i = shape.size(); i-- > 0; itemsize *= shape[i]) strides[i] = itemsize;
  return strides;
}

py::array outline(const Array& array) {
  // Memory of no bytes has no address, for which NumPy would allocate.
  static char nothing = 0;
  void* const data = array.data == nullptr ? &nothing : array.data;
  // With an owner, whoever it is, NumPy copies nothing.
  const py::capsule owner(data, [](void*) {});
  py::array found(array.dtype, array.shape, array.strides, data, owner);
  if (array.read_only) found.attr("flags").attr("writeable") = false;
  return found;
}

BufferPointer buffer_argument(const py::object& value, const char* name,
                              const device::Stream& stream) {
  if (py::isinstance<Buffer>(value)) return value.cast<BufferPointer>();
  // First, as it orders the work of any producer; the interface knows a stream only in version 3.
  if (has_cuda_dlpack(value)) return from_dlpack(value, name, stream);
  if (py::hasattr(value, kInterface)) return adopt(value, name, stream);
  throw py::type_error(std::string(name) + ": got " +
                       py::type::handle_of(value).attr("__name__").cast<std::string>() +
                       "; accepted is an array on the device: a Buffer, or anything with " +
                       kInterface + " or, on a CUDA device, __dlpack__");
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
