#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/device/array.h"
#include "bindings/device/dlpack.h"
#include "bindings/device/registry.h"
#include "cuda/device.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

constexpr const char* kBuffer = R"(An array in the memory of the current device.

Indexing with integers and slices gives views. Anything that reads ``__cuda_array_interface__``
(CuPy, PyTorch, pycuda, Numba) takes it without a copy. The memory is freed, which waits for all work
of the device, when the last view of it is gone.

Parameters
----------
shape : sequence of int
dtype : dtype-like
    uint8 by default. The values are not set.

Raises
------
RuntimeError
    If there is no device or not enough memory.
)";

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
  Buffer view = {buffer, nullptr, device::current_device()};
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

py::dict array_interface(const Buffer& buffer) {
  py::dict found;
  found["version"] = 3;
  found["shape"] = py::tuple(py::cast(buffer.shape));
  found["typestr"] = buffer.dtype.attr("str");
  found["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(buffer.data), buffer.read_only);
  found["strides"] = py::none();
  if (!buffer.is_dense()) found["strides"] = py::tuple(py::cast(buffer.strides));
  found["stream"] = py::none();
  if (buffer.writer) found["stream"] = reinterpret_cast<uintptr_t>(buffer.writer->handle());
  return found;
}

std::string repr(const char* name, const Array& array) {
  return std::string(name) +
         "(shape=" + py::str(py::tuple(py::cast(array.shape))).cast<std::string>() +
         ", dtype=" + py::str(array.dtype).cast<std::string>() + ")";
}

template <class Kind>
void add_common(py::class_<Kind, std::shared_ptr<Kind>>& bound, const char* name) {
  bound.def_property_readonly("shape",
                              [](const Kind& self) { return py::tuple(py::cast(self.shape)); });
  bound.def_property_readonly("strides",
                              [](const Kind& self) { return py::tuple(py::cast(self.strides)); });
  bound.def_property_readonly("dtype", [](const Kind& self) { return self.dtype; });
  bound.def_property_readonly("nbytes", &Kind::bytes);
  bound.def_property_readonly("size", &Kind::size);
  bound.def_property_readonly(
      "ptr", [](const Kind& self) { return reinterpret_cast<uintptr_t>(self.data); },
      "The address of the first value.");
  bound.def("__getitem__", part<Kind>, py::arg("index"));
  bound.def("view", view<Kind>, py::arg("shape"), py::arg("dtype") = py::none(),
            py::arg("offset") = 0, kView);
  bound.def("__repr__", [name](const Kind& self) { return repr(name, self); });
}

}  // namespace

void register_buffers(py::module_& module) {
  py::class_<Buffer, BufferPointer> buffer(module, "Buffer", kBuffer);
  buffer.def(py::init([](const Sizes& shape, const py::object& dtype) {
               return make_buffer(shape, py::dtype::from_args(dtype));
             }),
             py::arg("shape"), py::arg("dtype") = "uint8");
  add_common(buffer, "Buffer");
  buffer.def_property_readonly("__cuda_array_interface__", array_interface);
  buffer.def_readonly("device", &Buffer::device, "CUDA's number of the GPU whose memory it is.");
  add_dlpack(buffer);
  module.def("as_buffer", as_buffer, py::arg("array"), py::arg("name") = "array", py::kw_only(),
             py::arg("stream").none(false), kAsBuffer);

  py::class_<PinnedBuffer, std::shared_ptr<PinnedBuffer>> pinned(module, "PinnedBuffer",
                                                                 kPinnedBuffer);
  pinned.def(py::init([](const Sizes& shape, const py::object& dtype, bool mapped) {
               return make_pinned(shape, py::dtype::from_args(dtype), mapped);
             }),
             py::arg("shape"), py::arg("dtype") = "uint8", py::arg("mapped") = false);
  add_common(pinned, "PinnedBuffer");
  pinned.def_property_readonly("array", host_view, "The memory as NumPy sees it.");
  pinned.def("device", device_view,
             "The memory as kernels see it: a Buffer. ValueError where it is not mapped.");
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
