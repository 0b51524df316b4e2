// Arrays in device memory and in page-locked memory, as Python sees them.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "cuda/memory.h"
#include "cuda/stream.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {

namespace py = pybind11;
namespace device = nucleiseg::NUCLEISEG_DEVICE;

using Sizes = std::vector<py::ssize_t>;

// Values somewhere, with any strides (in bytes), and who owns the memory.
struct Array {
  std::shared_ptr<void> owner;
  void* data;
  py::dtype dtype;
  Sizes shape;
  Sizes strides;
  bool read_only = false;

  py::ssize_t size() const;
  size_t bytes() const { return static_cast<size_t>(size() * dtype.itemsize()); }
  bool is_dense() const;
};

// In device memory, and complete.
struct Buffer : Array {
  int device = 0;  // CUDA's number of the one whose memory it is
};

using BufferPointer = std::shared_ptr<Buffer>;

Sizes dense_strides(const Sizes& shape, py::ssize_t itemsize);

// The array as NumPy would see it, to be checked but never to be read: it is not host memory.
py::array outline(const Array& array);

// Keeps a Python object as long as its memory is used, from threads that may not hold the
// interpreter.
std::shared_ptr<void> owner_of(const py::object& value);

// A Buffer as it is, and anything with __dlpack__ on a CUDA device or with __cuda_array_interface__
// without a copy. Work in `stream` then comes after what the array's own stream was given before.
BufferPointer buffer_argument(const py::object& value, const char* name,
                              const device::Stream& stream);

// What csrc/bindings/device/dlpack.cpp does: arrays from and for other libraries by DLPack,
// capsules with a pointer, a shape and a deleter.

// Does the object offer an array on a CUDA device? The emulated device says that it is one, too.
bool has_cuda_dlpack(const py::object& value);

// The array without a copy. Its producer lets `stream` wait for the work that it has been given.
BufferPointer from_dlpack(const py::object& value, const char* name, const device::Stream& stream);

// Adds __dlpack__ and __dlpack_device__.
void add_dlpack(py::class_<Buffer, BufferPointer>& buffer);

// Adds what every kind of array has.
template <class Kind>
void add_array_methods(py::class_<Kind, std::shared_ptr<Kind>>& bound, const char* name) {
  const auto shape = [](const Kind& self) { return py::tuple(py::cast(self.shape)); };
  bound.def_property_readonly("shape", shape)
      .def_property_readonly("strides",
                             [](const Kind& self) { return py::tuple(py::cast(self.strides)); })
      .def_property_readonly("dtype", [](const Kind& self) { return self.dtype; })
      .def_property_readonly("nbytes", &Kind::bytes)
      .def_property_readonly("size", &Kind::size)
      .def_property_readonly(
          "ptr", [](const Kind& self) { return reinterpret_cast<uintptr_t>(self.data); },
          "The address of the first value.")
      .def("__repr__", [=](const Kind& self) {
        return py::str("{}(shape={}, dtype={})").format(name, shape(self), self.dtype);
      });
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
