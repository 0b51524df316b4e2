#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "cpp/bindings/device/arrays.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

constexpr const char* kCopy = R"(Copy between the device and page-locked memory, or within either.

Does not wait: neither array may be used elsewhere before the stream has come past.

Parameters
----------
destination, source : Buffer, PinnedBuffer or anything with ``__cuda_array_interface__``
    C-contiguous, of one shape and dtype.
stream : Stream

Returns
-------
`destination`.
)";

constexpr const char* kFill = R"(Set every byte of an array on the device. Does not wait.

Parameters
----------
destination : Buffer or anything with ``__cuda_array_interface__``
    C-contiguous.
byte : int
    0..255.
stream : Stream

Returns
-------
`destination`.
)";

constexpr const char* kToDevice = R"(Copy a NumPy array to new memory on the device. Waits for it.

For what is done once: `copy` from page-locked memory into a buffer that is kept does not allocate.

Parameters
----------
array : numpy.ndarray
stream : Stream
    Work that it is given afterwards finds the values there.

Returns
-------
Buffer
    C-contiguous.
)";

constexpr const char* kToHost =
    R"(Copy an array on the device to a new NumPy array. Waits for the stream.

Parameters
----------
array : Buffer or anything with ``__cuda_array_interface__``
    C-contiguous.
stream : Stream
    The one that wrote the array, or one that waits for that.

Returns
-------
numpy.ndarray
)";

// Either kind of array, as this file needs no more than where the bytes are.
struct Place {
  std::shared_ptr<Array> array;
  BufferPointer buffer;  // where it is one
};

Place place_argument(const py::object& value, const char* name, const device::Stream& stream) {
  Place place;
  if (py::isinstance<PinnedBuffer>(value)) {
    place.array = value.cast<std::shared_ptr<PinnedBuffer>>();
  } else {
    place.buffer = buffer_argument(value, name, stream);
    place.array = place.buffer;
  }
  if (!place.array->is_dense()) fail_value(name, "an array with gaps", "is a C-contiguous one");
  return place;
}

py::object copy(const py::object& destination, const py::object& source,
                const StreamPointer& stream) {
  const Place to = place_argument(destination, "destination", *stream);
  const Place from = place_argument(source, "source", *stream);
  if (to.array->read_only) fail_value("destination", "a read-only array", "is a writable one");
  if (to.array->shape != from.array->shape || !to.array->dtype.equal(from.array->dtype)) {
    const auto text = [](const Array& array) {
      return shape_text(outline(array)) + " of " + py::str(array.dtype).cast<std::string>();
    };
    fail_value("destination", text(*to.array), "is " + text(*from.array) + ", as the source");
  }
  const GilReleased release;
  device::copy(to.array->data, from.array->data, from.array->bytes(), stream->handle());
  return destination;
}

py::object fill(const py::object& destination, int byte, const StreamPointer& stream) {
  const BufferPointer to = buffer_argument(destination, "destination", *stream);
  if (!to->is_dense()) fail_value("destination", "an array with gaps", "is a C-contiguous one");
  if (to->read_only) fail_value("destination", "a read-only array", "is a writable one");
  const uint8_t value = byte_argument(byte, "byte");
  const GilReleased release;
  device::fill(to->data, value, to->bytes(), stream->handle());
  return destination;
}

BufferPointer to_device(const py::object& value, const StreamPointer& stream) {
  const auto numpy = py::module_::import("numpy");
  const py::array array = numpy.attr("ascontiguousarray")(array_argument(value, "array"))
                              .attr("reshape")(value.attr("shape"));
  const BufferPointer buffer =
      make_buffer(Sizes(array.shape(), array.shape() + array.ndim()), array.dtype());
  const void* const from = array.data();
  const GilReleased release;
  device::copy(buffer->data, from, buffer->bytes(), stream->handle());
  // The memory is pageable, so it may still be read.
  stream->synchronize();
  return buffer;
}

py::array to_host(const py::object& value, const StreamPointer& stream) {
  const Place from = place_argument(value, "array", *stream);
  py::array array(from.array->dtype, from.array->shape);
  void* const to = array.mutable_data();
  const GilReleased release;
  device::copy(to, from.array->data, from.array->bytes(), stream->handle());
  stream->synchronize();
  return array;
}

const DeviceBinding kCopiesBinding([](py::module_& module) {
  module.def("copy", copy, py::arg("destination"), py::arg("source"), py::kw_only(),
             py::arg("stream").none(false), kCopy);
  module.def("fill", fill, py::arg("destination"), py::arg("byte"), py::kw_only(),
             py::arg("stream").none(false), kFill);
  module.def("to_device", to_device, py::arg("array"), py::kw_only(), py::arg("stream").none(false),
             kToDevice);
  module.def("to_host", to_host, py::arg("array"), py::kw_only(), py::arg("stream").none(false),
             kToHost);
});

}  // namespace
}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
