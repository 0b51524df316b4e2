#include "cpp/bindings/device/arrays.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/arguments.h"
#include "cuda/device.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

constexpr size_t kWorkspaceAlignment = 16;
constexpr py::ssize_t kMostBytes = py::ssize_t{1} << 46;

constexpr const char* kPinnedBuffer = R"(An array in page-locked host memory.

Copies between it and the device do not wait and run beside kernels. ``array`` is its NumPy view.

Parameters
----------
shape : sequence of int
dtype : dtype-like
    uint8 by default. The values are not set.
mapped : bool
    Whether kernels can use it in place: see ``device``. Without a copy on devices that share their
    memory with the host (``devices()[i]["integrated"]``), over the bus on others.

Raises
------
RuntimeError
    If there is no device or not enough memory.
)";

constexpr const char* kView = R"(The same memory under another shape and dtype.

Parameters
----------
shape : sequence of int
dtype : dtype-like, optional
    The array's own where it is not given.
offset : int
    Bytes from the array's first.

Raises
------
ValueError
    If the array is not C-contiguous, or the view would go past its end.
)";

constexpr const char* kAsBuffer =
    R"(An array of any library on the device, as a Buffer. Without a copy.

Parameters
----------
array : Buffer, or anything with ``__dlpack__`` on a CUDA device or ``__cuda_array_interface__``
name : str
    What errors call it.
stream : Stream
    What it is given afterwards comes after the work that the array's own stream has been given.

Returns
-------
Buffer

Raises
------
TypeError
    If it is none, or of a dtype that NumPy does not know.
)";

std::string sizes_text(const Sizes& shape) {
  return py::str(py::tuple(py::cast(shape))).cast<std::string>();
}

std::string dense_text(const Sizes& shape, py::ssize_t axis) {
  if (axis == 0) return "is C-contiguous " + sizes_text(shape);
  return "is " + sizes_text(shape) + " contiguous in its last axis";
}

BufferPointer as_buffer(const py::object& value, const std::string& name,
                        const StreamPointer& stream) {
  return buffer_argument(value, name.c_str(), *stream);
}

PinnedBuffer make_pinned(const Sizes& shape, const py::dtype& dtype, bool mapped) {
  check_shape(shape, dtype);
  PinnedBuffer buffer = {{nullptr, nullptr, dtype, shape, dense_strides(shape, dtype.itemsize())}};
  const auto memory = std::make_shared<device::PinnedMemory>(buffer.bytes(), mapped);
  buffer.data = memory->data();
  buffer.mapped = memory->device();
  buffer.owner = memory;
  return buffer;
}

py::array host_view(const py::object& self) {
  const auto& buffer = self.cast<const PinnedBuffer&>();
  if (buffer.data == nullptr) return py::array(buffer.dtype, buffer.shape);
  return py::array(buffer.dtype, buffer.shape, buffer.strides, buffer.data, self);
}

Buffer device_view(const PinnedBuffer& buffer) {
  if (buffer.mapped == nullptr) {
    throw py::value_error("device: the memory is not mapped; make it with mapped=True");
  }
  Buffer view = {buffer, device::current_device()};
  view.data = buffer.mapped;
  return view;
}

void move(Buffer& buffer, py::ssize_t offset) {
  buffer.data = static_cast<char*>(buffer.data) + offset;
}

void move(PinnedBuffer& buffer, py::ssize_t offset) {
  buffer.data = static_cast<char*>(buffer.data) + offset;
  if (buffer.mapped != nullptr) buffer.mapped = static_cast<char*>(buffer.mapped) + offset;
}

template <class Kind>
Kind view(const Kind& buffer, const Sizes& shape, const py::object& dtype, py::ssize_t offset) {
  if (!buffer.is_dense()) fail_value("view", "an array with gaps", "is a C-contiguous one");
  Kind found = buffer;
  if (!dtype.is_none()) found.dtype = py::dtype::from_args(dtype);
  check_shape(shape, found.dtype);
  found.shape = shape;
  found.strides = dense_strides(shape, found.dtype.itemsize());
  const auto room = static_cast<py::ssize_t>(buffer.bytes()) - offset;
  if (offset < 0 || room < static_cast<py::ssize_t>(found.bytes())) {
    fail_value("view",
               py::str(py::cast(shape)).cast<std::string>() + " at byte " + std::to_string(offset),
               "is what lies inside the " + std::to_string(buffer.bytes()) + " bytes");
  }
  move(found, offset);
  return found;
}

// NumPy's own indexing of an array that is never read says where the part lies.
template <class Kind>
Kind part(const Kind& buffer, const py::object& index) {
  const py::array whole = outline(buffer);
  const auto keys =
      py::isinstance<py::tuple>(index) ? index.cast<py::tuple>() : py::make_tuple(index);
  for (const py::handle key : keys) {
    if (!py::isinstance<py::int_>(key) && !py::isinstance<py::slice>(key)) {
      throw py::type_error("index: accepted are integers and slices");
    }
  }
  // A trailing Ellipsis gives a view where integers alone would read a value.
  const py::array found = whole[py::tuple(keys + py::make_tuple(py::ellipsis()))];
  Kind view = buffer;
  view.shape.assign(found.shape(), found.shape() + found.ndim());
  view.strides.assign(found.strides(), found.strides() + found.ndim());
  move(view, static_cast<const char*>(found.data()) - static_cast<const char*>(whole.data()));
  return view;
}

template <class Kind>
void add_views(py::class_<Kind, std::shared_ptr<Kind>>& bound) {
  bound.def("__getitem__", part<Kind>, py::arg("index"));
  bound.def("view", view<Kind>, py::arg("shape"), py::arg("dtype") = py::none(),
            py::arg("offset") = 0, kView);
}

}  // namespace

void check_shape(const Sizes& shape, const py::dtype& dtype) {
  py::ssize_t bytes = std::max<py::ssize_t>(1, dtype.itemsize());
  for (const py::ssize_t length : shape) {
    if (length < 0) fail_value("shape", sizes_text(shape), "is no negative length");
    if (length > 0 && bytes > kMostBytes / length) {
      fail_value("shape", sizes_text(shape) + " of " + py::str(dtype).cast<std::string>(),
                 "are up to " + std::to_string(kMostBytes) + " bytes");
    }
    bytes *= std::max<py::ssize_t>(1, length);
  }
}

BufferPointer make_buffer(const Sizes& shape, const py::dtype& dtype) {
  check_shape(shape, dtype);
  auto buffer = std::make_shared<Buffer>(
      Buffer{{nullptr, nullptr, dtype, shape, dense_strides(shape, dtype.itemsize())}});
  const auto memory = std::make_shared<device::DeviceMemory>(buffer->bytes());
  buffer->data = memory->data();
  buffer->owner = memory;
  buffer->device = device::current_device();
  return buffer;
}

BufferPointer output_buffer(const py::object& value, const char* name, const Sizes& shape,
                            const char* dtype, py::ssize_t axis, const device::Stream& stream) {
  if (value.is_none()) return make_buffer(shape, py::dtype(dtype));
  const BufferPointer buffer = buffer_argument(value, name, stream);
  const py::array array = output_argument(outline(*buffer), name, dtype);
  const bool fits = buffer->shape == shape;
  if (!fits || !is_dense_from(array, axis)) {
    const char* const gaps = axis == 0 ? ", not C-contiguous" : ", not contiguous in its last axis";
    fail_value(name, bindings::shape_text(array) + (fits ? gaps : ""), dense_text(shape, axis));
  }
  return buffer;
}

BufferPointer workspace_argument(const py::object& value, size_t bytes,
                                 const device::Stream& stream) {
  const BufferPointer buffer = buffer_argument(value, "workspace", stream);
  const bool aligned = reinterpret_cast<uintptr_t>(buffer->data) % kWorkspaceAlignment == 0;
  if (buffer->bytes() < bytes || !buffer->is_dense() || buffer->read_only || !aligned) {
    fail_value("workspace", std::to_string(buffer->bytes()) + " bytes",
               "are at least " + std::to_string(bytes) +
                   " bytes, contiguous, writable, at a multiple of 16 bytes");
  }
  return buffer;
}

void check_apart(const Array& out, const Array& input, const char* input_name) {
  bindings::check_apart(outline(out), outline(input), input_name);
}

void add_test_methods(py::class_<Buffer, BufferPointer>& bound) {
  bound.def(py::init([](const Sizes& shape, const py::object& dtype) {
              return make_buffer(shape, py::dtype::from_args(dtype));
            }),
            py::arg("shape"), py::arg("dtype") = "uint8");
  add_views(bound);
}

void register_parts(py::module_& module) {
  register_streams(module);
  module.def("set_device", device::set_device, py::arg("index"),
             "Choose the calling thread's device.");
  module.def("as_buffer", as_buffer, py::arg("array"), py::arg("name") = "array", py::kw_only(),
             py::arg("stream").none(false), kAsBuffer);
  py::class_<PinnedBuffer, std::shared_ptr<PinnedBuffer>> pinned(module, "PinnedBuffer",
                                                                 kPinnedBuffer);
  pinned.def(py::init([](const Sizes& shape, const py::object& dtype, bool mapped) {
               return make_pinned(shape, py::dtype::from_args(dtype), mapped);
             }),
             py::arg("shape"), py::arg("dtype") = "uint8", py::arg("mapped") = false);
  add_array_methods(pinned, "PinnedBuffer");
  add_views(pinned);
  pinned.def_property_readonly("array", host_view, "The memory as NumPy sees it.");
  pinned.def("device", device_view,
             "The memory as kernels see it: a Buffer. ValueError where it is not mapped.");
  DeviceBinding::register_all(module);
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
