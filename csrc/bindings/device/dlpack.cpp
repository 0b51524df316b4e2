#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/device/array.h"
#include "cuda/device.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

// The structures of DLPack's C API, https://dmlc.github.io/dlpack/latest/c_api.html, and what
// Python does with them, https://dmlc.github.io/dlpack/latest/python_spec.html. Capsules named
// "dltensor" hold the structure without a version, which every producer and consumer knows.
struct DlDevice {
  int32_t type;
  int32_t id;
};

struct DlType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct DlTensor {
  void* data;
  DlDevice device;
  int32_t ndim;
  DlType dtype;
  int64_t* shape;
  int64_t* strides;  // in values; none where it is C-contiguous
  uint64_t byte_offset;
};

struct DlManagedTensor {
  DlTensor tensor;
  void* manager;
  void (*deleter)(DlManagedTensor*);
};

constexpr const char* kName = "dltensor";
constexpr const char* kUsedName = "used_dltensor";
constexpr int32_t kCuda = 2;
constexpr int32_t kCudaManaged = 13;

struct NamedCode {
  char kind;  // as NumPy calls it
  uint8_t code;
};

constexpr NamedCode kCodes[] = {{'i', 0}, {'u', 1}, {'f', 2}, {'c', 5}, {'b', 6}};

constexpr const char* kExport = R"(The array for another library, by DLPack. Without a copy.

Parameters
----------
stream : int, optional
    The consumer's ``cudaStream_t``, which need not wait, as the array is complete.
max_version, dl_device, copy : optional
    As DLPack has them. The capsule is of the version before 1.0, which every consumer takes.

Returns
-------
capsule

Raises
------
BufferError
    If the array is read-only, of a dtype that DLPack does not know, or is asked for as a copy or on
    another device.
)";

[[noreturn]] void fail_export(const std::string& reason) {
  throw py::buffer_error("__dlpack__: " + reason);
}

DlType type_of(const py::dtype& dtype) {
  for (const NamedCode& candidate : kCodes) {
    if (candidate.kind == dtype.kind()) {
      return {candidate.code, static_cast<uint8_t>(8 * dtype.itemsize()), 1};
    }
  }
  fail_export("DLPack does not know " + py::str(dtype).cast<std::string>());
}

py::dtype dtype_of(const DlType& type, const char* name) {
  for (const NamedCode& candidate : kCodes) {
    if (candidate.code != type.code || type.lanes != 1 || type.bits % 8 != 0) continue;
    return py::dtype(candidate.kind + std::to_string(type.bits / 8));
  }
  throw py::type_error(std::string(name) + ": got values of DLPack's type " +
                       std::to_string(type.code) + " with " + std::to_string(type.bits) +
                       " bits; accepted are those that NumPy knows");
}

std::pair<int32_t, int32_t> device_of(const py::object& value) {
  return value.attr("__dlpack_device__")().cast<std::pair<int32_t, int32_t>>();
}

// What a consumer holds: the tensor, and what it points to.
struct Export {
  DlManagedTensor managed;
  std::shared_ptr<void> owner;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
};

DlManagedTensor* make_export(const Buffer& buffer) {
  auto made = std::make_unique<Export>();
  made->owner = buffer.owner;
  made->shape.assign(buffer.shape.begin(), buffer.shape.end());
  for (const py::ssize_t step : buffer.strides) {
    if (step % buffer.dtype.itemsize() != 0) fail_export("the strides are no multiples of a value");
    made->strides.push_back(step / buffer.dtype.itemsize());
  }
  made->managed.tensor = {buffer.data,
                          {kCuda, buffer.device},
                          static_cast<int32_t>(buffer.shape.size()),
                          type_of(buffer.dtype),
                          made->shape.data(),
                          made->strides.data(),
                          0};
  made->managed.manager = made.get();
  made->managed.deleter = [](DlManagedTensor* self) { delete static_cast<Export*>(self->manager); };
  return &made.release()->managed;
}

// A capsule that nobody took still has its first name.
void drop_capsule(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, kName)) return;
  auto* const managed = static_cast<DlManagedTensor*>(PyCapsule_GetPointer(capsule, kName));
  managed->deleter(managed);
}

py::object to_dlpack(const Buffer& buffer, const py::object&, const py::object&,
                     const std::optional<std::pair<int32_t, int32_t>>& dl_device,
                     const std::optional<bool>& copy) {
  if (buffer.read_only) fail_export("the array is read-only, which the capsule cannot say");
  if (copy.value_or(false)) fail_export("it gives no copies");
  if (dl_device && *dl_device != std::make_pair(kCuda, int32_t{buffer.device})) {
    fail_export("the array is on another device than the one asked for");
  }
  DlManagedTensor* const managed = make_export(buffer);
  PyObject* const capsule = PyCapsule_New(managed, kName, drop_capsule);
  if (capsule == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(capsule);
}

// The producer's deleter may need the interpreter.
std::shared_ptr<void> owner_of_tensor(DlManagedTensor* managed) {
  return {managed, [](void* taken) {
            const py::gil_scoped_acquire acquire;
            auto* const tensor = static_cast<DlManagedTensor*>(taken);
            if (tensor->deleter != nullptr) tensor->deleter(tensor);
          }};
}

}  // namespace

bool has_cuda_dlpack(const py::object& value) {
  if (!py::hasattr(value, "__dlpack__") || !py::hasattr(value, "__dlpack_device__")) return false;
  const int32_t type = device_of(value).first;
  return type == kCuda || type == kCudaManaged;
}

BufferPointer from_dlpack(const py::object& value, const char* name, const device::Stream& stream) {
  const int32_t id = device_of(value).second;
  if (id != device::current_device()) {
    fail_value(name, "an array on GPU " + std::to_string(id),
               "are those on GPU " + std::to_string(device::current_device()));
  }
  const auto handle = reinterpret_cast<uintptr_t>(stream.handle());
  const py::object capsule = value.attr("__dlpack__")(py::arg("stream") = handle);
  auto* const managed = static_cast<DlManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), kName));
  if (managed == nullptr) throw py::error_already_set();
  PyCapsule_SetName(capsule.ptr(), kUsedName);
  const std::shared_ptr<void> owner = owner_of_tensor(managed);
  const DlTensor& tensor = managed->tensor;
  const py::dtype dtype = dtype_of(tensor.dtype, name);
  Sizes shape(tensor.shape, tensor.shape + tensor.ndim);
  Sizes strides = dense_strides(shape, dtype.itemsize());
  for (int32_t i = 0; tensor.strides != nullptr && i < tensor.ndim; ++i) {
    strides[static_cast<size_t>(i)] = tensor.strides[i] * dtype.itemsize();
  }
  char* const data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  return std::make_shared<Buffer>(
      Buffer{{owner, data, dtype, std::move(shape), std::move(strides)}, id});
}

void add_dlpack(py::class_<Buffer, BufferPointer>& buffer) {
  buffer.def("__dlpack__", to_dlpack, py::kw_only(), py::arg("stream") = py::none(),
             py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
             py::arg("copy") = py::none(), kExport);
  buffer.def(
      "__dlpack_device__", [](const Buffer& self) { return std::make_pair(kCuda, self.device); },
      "(2, number): DLPack's kDLCUDA, which the emulated device says as well.");
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
