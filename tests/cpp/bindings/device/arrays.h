// Arrays on a device as the tests make them, and memory that they hand to single kernels.
#pragma once

#include <string>

#include "bindings/device/array.h"
#include "bindings/device/registry.h"
#include "cpp/bindings/registry.h"
#include "cuda/network.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {

using StreamPointer = std::shared_ptr<device::Stream>;

// In page-locked host memory.
struct PinnedBuffer : Array {
  void* mapped = nullptr;  // the same memory as kernels see it
};

// Refuses negative lengths, and more bytes than any device has.
void check_shape(const Sizes& shape, const py::dtype& dtype);

// Allocates, which does not belong between the kernels of a frame.
BufferPointer make_buffer(const Sizes& shape, const py::dtype& dtype);

// As above where one is given, else a new one. A given one has this shape and dtype, is writable,
// and is dense from `axis` on.
BufferPointer output_buffer(const py::object& value, const char* name, const Sizes& shape,
                            const char* dtype, py::ssize_t axis, const device::Stream& stream);

// Memory of at least so many bytes that is nothing but memory.
BufferPointer workspace_argument(const py::object& value, size_t bytes,
                                 const device::Stream& stream);

void check_apart(const Array& out, const Array& input, const char* input_name);

// Adds what tests do with arrays and networks beyond what the package does.
void add_test_methods(py::class_<Buffer, BufferPointer>& bound);
using NetworkClass = py::class_<device::Network, network::Layers, std::shared_ptr<device::Network>>;
void add_test_methods(NetworkClass& bound);

void register_streams(py::module_& module);

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
