#include "bindings/device/array.h"
#include "bindings/device/registry.h"
#include "bindings/pipeline_methods.h"
#include "cuda/network.h"
#include "pipeline/cuda_times.h"
#if defined(NUCLEISEG_WITH_TEST_BINDINGS)
#include "cpp/bindings/device/arrays.h"
#endif

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

using device::CudaDevice;

constexpr const char* kNetwork =
    "The network in eight bits, on the current device; its bytes are those of ``cpu.Network``.";

constexpr const char* kDevice = R"(A GPU: the current device of the calling thread, with a network.

Parameters
----------
network : Network or callable
    ``callable(tiles, cells, shape, stream, memory)`` puts another network into a stream without
    waiting: ``tiles`` and ``cells`` are the addresses of (n, h, w, 3) and (n, h / 2, w / 2, 8) uint8,
    ``shape`` is (n, h, w), ``stream`` a ``cudaStream_t``, and ``memory(size)`` returns the address of
    so many bytes for what comes between the layers. After one call with a shape the stream may be
    captured into a graph; its calls keep that shape until the graph is gone.
threads : int
    Of the host, which resizes and copies; 1 to 1024.
warn : callable
    Called with a line for the log, where images cannot be done as fast as usual.
page_locked : int
    Bytes of results on the host that may be page-locked: those are not copied once more.
)";

constexpr const char* kTake =
    R"(An array of any library on this device as a Buffer, once it is written.

Parameters
----------
array : Buffer, or anything with ``__dlpack__`` on a CUDA device or ``__cuda_array_interface__``
name : {"image", "maps"}
    What errors call it.

Raises
------
TypeError, ValueError
    If it is on another device, or of a dtype or shape that `Pipeline` does not take.
)";

constexpr const char* kInfer = R"(Run the network on tiles from the host, and wait for it.

Parameters
----------
tiles : numpy.ndarray
    (N, h, w, 3) uint8, C-contiguous; h and w are multiples of the network's stride.
cells : numpy.ndarray, optional
    (N, h / 2, w / 2, 8) uint8, C-contiguous, that is overwritten with what the network writes.
by_graph : bool
    Whether a graph does the work, captured after a run without it.

Returns
-------
numpy.ndarray
    (N, h / 2, w / 2, 8) uint8: both maps of 2 x 2 pixels in raster order, 0..255 for 0..1.
)";

constexpr const char* kMilliseconds =
    R"(Time the network by the GPU's events, in a graph of repeats.

Parameters
----------
tiles : numpy.ndarray
    As of `infer`.
repeats : int
)";

constexpr const char* kSteps = R"(Time each step of an image that is one tile.

Parameters
----------
image : numpy.ndarray
    As of `run`.
repeats : int
    How often each step stands in the graph that is timed.

Returns
-------
labels : numpy.ndarray
    (H, W) int32.
milliseconds : dict of str to float
    Of the upload, each kernel and the download, in their order.
)";

// Keeps Python's garbage collector from freeing device memory while a stream may be captured, which
// a capture does not survive. To be used with the interpreter's lock, which guards the count.
class NoCollection {
 public:
  NoCollection() {
    if (count_++ == 0) was_enabled_ = PyGC_Disable() != 0;
  }
  NoCollection(const NoCollection&) = delete;
  NoCollection& operator=(const NoCollection&) = delete;
  ~NoCollection() {
    if (--count_ == 0 && was_enabled_) PyGC_Enable();
  }

 private:
  static inline int count_ = 0;
  static inline bool was_enabled_ = false;
};

template <class Pointer>
uintptr_t address(Pointer pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}

device::Engine own_engine(const std::shared_ptr<const device::Network>& network) {
  if (!network->is_complete()) {
    fail_value("network", "one without a last layer", "is a complete one");
  }
  return [network](const device::Tiles& tiles, cudaStream_t stream,
                   const device::Allocate& allocate) {
    void* const memory = allocate(network->workspace(tiles.count, tiles.height, tiles.width));
    network->run(tiles.data, tiles.count, tiles.height, tiles.width, tiles.cells, memory, stream);
  };
}

device::Engine called_engine(const py::object& function) {
  return [kept = owner_of(function)](const device::Tiles& tiles, cudaStream_t stream,
                                     const device::Allocate& allocate) {
    const py::gil_scoped_acquire acquire;
    const NoCollection none;
    const py::cpp_function memory([&](size_t bytes) { return address(allocate(bytes)); });
    try {
      (*static_cast<py::object*>(kept.get()))(
          address(tiles.data), address(tiles.cells),
          py::make_tuple(tiles.count, tiles.height, tiles.width), address(stream), memory);
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_RuntimeError)) throw;
      throw std::runtime_error(py::str(error.value()).cast<std::string>());
    }
  };
}

std::shared_ptr<CudaDevice> make_device(const py::object& network, int threads,
                                        const py::function& warn, size_t page_locked) {
  check_threads(threads);
  const bool is_own = py::isinstance<device::Network>(network);
  if (!is_own && !PyCallable_Check(network.ptr())) {
    throw py::type_error("network: accepted are a Network and a callable");
  }
  device::Engine engine = is_own ? own_engine(network.cast<std::shared_ptr<device::Network>>())
                                 : called_engine(network);
  const auto tell = [kept = owner_of(warn)](const std::string& words) {
    const py::gil_scoped_acquire acquire;
    (*static_cast<py::object*>(kept.get()))(words);
  };
  return std::make_shared<CudaDevice>(std::move(engine), threads, page_locked, tell);
}

BufferPointer take(const CudaDevice& self, const py::object& value, const std::string& name) {
  self.enter();
  BufferPointer buffer = buffer_argument(value, name.c_str(), self.intake());
  view_as(outline(*buffer), name);
  const GilReleased release;
  self.intake().synchronize();
  return buffer;
}

std::pair<py::object, void*> result_on_host(CudaDevice& device, const Sizes& shape,
                                            const char* dtype) {
  Buffer sizes = {{nullptr, nullptr, py::dtype(dtype), shape, {}}};
  const std::shared_ptr<device::PinnedMemory> memory = device.pinned_memory(sizes.bytes());
  if (!memory) return host_array(shape, dtype);
  using Kept = std::shared_ptr<device::PinnedMemory>;
  const py::capsule owner(new Kept(memory), [](void* kept) { delete static_cast<Kept*>(kept); });
  return {py::array(sizes.dtype, shape, memory->data(), owner), memory->data()};
}

std::pair<py::object, void*> result_on_device(CudaDevice& device, const Sizes& shape,
                                              const char* dtype) {
  Buffer buffer = {{nullptr, nullptr, py::dtype(dtype), shape, {}}, device.index()};
  buffer.strides = dense_strides(shape, buffer.dtype.itemsize());
  const auto memory = device.device_memory(buffer.bytes());
  buffer.data = memory->data();
  buffer.owner = memory;
  return {py::cast(std::make_shared<Buffer>(std::move(buffer))), memory->data()};
}

// NumPy's arrays, and Buffers of the device.
struct AnyArrays {
  static int64_t stride(const CudaDevice&) { return 1; }

  static Argument argument(const CudaDevice& device, const py::object& value, const char* name) {
    if (!py::isinstance<Buffer>(value)) return host_argument(value, name);
    const auto buffer = value.cast<BufferPointer>();
    if (buffer->device != device.index()) {
      fail_value(name, "an array on GPU " + std::to_string(buffer->device),
                 "are those on GPU " + std::to_string(device.index()));
    }
    return {value, view_as(outline(*buffer), name)};
  }

  static Allocate allocate(CudaDevice& device, bool to_host) {
    device.enter();
    const auto make = to_host ? result_on_host : result_on_device;
    return [&device, make](const Sizes& shape, const char* dtype) {
      return make(device, shape, dtype);
    };
  }
};

// The bytes that an array spans, copied, and the array as a view of those.
py::array host(CudaDevice& self, const Buffer& buffer) {
  self.enter();
  py::ssize_t first = 0;
  py::ssize_t last = buffer.dtype.itemsize();
  for (size_t i = 0; i < buffer.shape.size(); ++i) {
    (buffer.strides[i] < 0 ? first : last) += (buffer.shape[i] - 1) * buffer.strides[i];
  }
  const auto [bytes, to] = result_on_host(self, {last - first}, "uint8");
  const auto* const from = static_cast<const char*>(buffer.data) + first;
  {
    const GilReleased release;
    device::copy(to, from, static_cast<size_t>(last - first), self.intake().handle());
    self.intake().synchronize();
  }
  return py::array(buffer.dtype, buffer.shape, buffer.strides, static_cast<char*>(to) - first,
                   bytes);
}

void check_repeats(int repeats) {
  if (repeats < 1) fail_value("repeats", std::to_string(repeats), "is 1 or more");
}

// With the cells to write: those given, or new ones.
std::pair<device::Tiles, py::array> tiles_on_host(const py::array& tiles,
                                                  const py::object& given = py::none()) {
  check_tiles(tiles, kernels::kCellSide);
  const Sizes shape = {tiles.shape(0), tiles.shape(1) / 2, tiles.shape(2) / 2, kernels::kCellBytes};
  py::array cells =
      given.is_none() ? py::array_t<uint8_t>(shape) : output_argument(given, "cells", "uint8");
  const bool fits = cells.ndim() == 4 && std::equal(shape.begin(), shape.end(), cells.shape());
  if (!fits || !is_dense_from(cells, 0)) {
    fail_value("cells", shape_text(cells), "is C-contiguous (N, h / 2, w / 2, 8)");
  }
  return {{static_cast<const uint8_t*>(tiles.data()), tiles.shape(0), tiles.shape(1),
           tiles.shape(2), static_cast<uint8_t*>(cells.mutable_data())},
          cells};
}

py::array infer(const CudaDevice& self, const py::object& tiles, const py::object& cells,
                bool by_graph) {
  const py::array given = array_argument(tiles, "tiles", "uint8");
  const auto [both, result] = tiles_on_host(given, cells);
  const GilReleased release;
  device::infer(self, both, by_graph);
  return result;
}

double milliseconds(const CudaDevice& self, const py::object& tiles, int repeats) {
  check_repeats(repeats);
  const py::array given = array_argument(tiles, "tiles", "uint8");
  const auto [both, cells] = tiles_on_host(given);
  const GilReleased release;
  return device::network_milliseconds(self, both, repeats);
}

py::tuple step_milliseconds(const pipeline::Pipeline<CudaDevice>& self, const py::object& image,
                            int repeats) {
  check_repeats(repeats);
  const Argument argument = host_argument(image, "image");
  const ImageView& view = argument.view;
  const auto [labels, values] = host_array({view.height, view.width}, "int32");
  std::vector<std::pair<std::string, double>> found;
  {
    const GilReleased release;
    found = device::step_milliseconds(self.device(), self.settings(), view, repeats,
                                      static_cast<int32_t*>(values));
  }
  py::dict times;
  for (const auto& [name, time] : found) times[name.c_str()] = time;
  return py::make_tuple(labels, times);
}

}  // namespace

void register_pipeline(py::module_& module) {
  using device::Network;
  py::class_<Network, network::Layers, std::shared_ptr<Network>> bound(module, "Network", kNetwork);
  bound.def(py::init<>());
#if defined(NUCLEISEG_WITH_TEST_BINDINGS)
  add_test_methods(bound);
#endif
  constexpr int kRepeats = 20;
  constexpr size_t kPageLocked = size_t{1} << 28;
  py::class_<CudaDevice, std::shared_ptr<CudaDevice>>(module, "Device", kDevice)
      .def(py::init(&make_device), py::arg("network"), py::arg("threads"), py::arg("warn"),
           py::arg("page_locked") = kPageLocked)
      .def("infer", infer, py::arg("tiles"), py::arg("cells") = py::none(),
           py::arg("by_graph") = false, kInfer)
      .def("milliseconds", milliseconds, py::arg("tiles"), py::arg("repeats") = kRepeats,
           kMilliseconds)
      .def("take", take, py::arg("array"), py::arg("name"), kTake)
      .def("host", host, py::arg("buffer").none(false),
           "Copy a Buffer, which is complete, to NumPy.");
  PipelineMethods<CudaDevice, AnyArrays>::add(module).def("step_milliseconds", step_milliseconds,
                                                          py::arg("image"),
                                                          py::arg("repeats") = kRepeats, kSteps);
  module.def("copy_milliseconds", device::copy_milliseconds, py::arg("bytes"), py::arg("repeats"),
             py::call_guard<GilReleased>(), "Time a copy of so many bytes within the device.");
  module.attr("LANES") = device::kLanes;
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
