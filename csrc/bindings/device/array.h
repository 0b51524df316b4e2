// Arrays in device memory and in page-locked memory, as Python sees them.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "cuda/memory.h"
#include "cuda/stream.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {

namespace py = pybind11;
namespace device = nucleiseg::NUCLEISEG_DEVICE;

using StreamPointer = std::shared_ptr<device::Stream>;
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

// In device memory.
struct Buffer : Array {
  StreamPointer writer;  // the stream that last wrote it, if a kernel did
  int device = 0;        // CUDA's number of the one whose memory it is
};

// In page-locked host memory.
struct PinnedBuffer : Array {
  void* mapped = nullptr;  // the same memory as kernels see it
};

using BufferPointer = std::shared_ptr<Buffer>;

// Refuses negative lengths, and more bytes than any device has.
void check_shape(const Sizes& shape, const py::dtype& dtype);

Sizes dense_strides(const Sizes& shape, py::ssize_t itemsize);

// Allocates, which does not belong between the kernels of a frame.
BufferPointer make_buffer(const Sizes& shape, const py::dtype& dtype);

// The array as NumPy would see it, to be checked but never to be read: it is not host memory.
py::array outline(const Array& array);

// Keeps a Python object as long as its memory is used, from threads that may not hold the
// interpreter.
std::shared_ptr<void> owner_of(const py::object& value);

// A Buffer as it is, and anything with __dlpack__ on a CUDA device or with __cuda_array_interface__
// without a copy. Work in `stream` then comes after what the array's own stream was given before.
BufferPointer buffer_argument(const py::object& value, const char* name,
                              const device::Stream& stream);

// As above where one is given, else a new one. A given one has this shape and dtype, is writable,
// and is dense from `axis` on.
BufferPointer output_buffer(const py::object& value, const char* name, const Sizes& shape,
                            const char* dtype, py::ssize_t axis, const device::Stream& stream);

// Memory of at least so many bytes that is nothing but memory.
BufferPointer workspace_argument(const py::object& value, size_t bytes,
                                 const device::Stream& stream);

void check_apart(const Array& out, const Array& input, const char* input_name);

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
