// Arrays from and for other libraries by DLPack: capsules with a pointer, a shape and a deleter.
#pragma once

#include "bindings/device/array.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {

// Does the object offer an array on a CUDA device? The emulated device says that it is one, too.
bool has_cuda_dlpack(const py::object& value);

// The array without a copy. Its producer lets `stream` wait for the work that it has been given.
BufferPointer from_dlpack(const py::object& value, const char* name, const device::Stream& stream);

// Adds __dlpack__ and __dlpack_device__.
void add_dlpack(py::class_<Buffer, BufferPointer>& buffer);

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
