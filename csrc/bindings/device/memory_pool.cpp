#include <algorithm>
#include <deque>
#include <mutex>

#include "bindings/arguments.h"
#include "bindings/device/array.h"
#include "bindings/device/registry.h"
#include "cuda/device.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

constexpr const char* kPool = R"(Memory on the device for arrays that are given away.

What an array had is used again when the last view of it is gone, in whatever library, so that arrays
of one size after another allocate nothing.

Parameters
----------
keep : int
    Blocks of memory to keep that nobody uses.
)";

constexpr const char* kTake = R"(An array whose values are not set.

Work that was given to the legacy default stream, or to a stream that waits for it, before is done
before what `stream` is given afterwards, so that it may still use what had the memory. Work in other
streams has to be done before the last view is dropped.

Parameters
----------
shape : sequence of int
dtype : dtype-like
stream : Stream

Returns
-------
Buffer
)";

constexpr const char* kPinnedPool =
    R"(Page-locked memory of the host for arrays that are given away.

Parameters
----------
keep : int
    Blocks of memory to keep that nobody uses.
most : int
    Bytes in use above which there is no more.
)";

constexpr const char* kTakePinned = R"(An array whose values are not set.

Work that writes it has to be done before the last view is dropped.

Parameters
----------
shape : sequence of int
dtype : dtype-like

Returns
-------
PinnedBuffer or None
    None where as much is in use as may be.
)";

// Arrays outlive the pool that they come from, so both share this. Nothing of the device is called
// with the lock held.
template <class Memory>
class Shelf {
 public:
  explicit Shelf(size_t keep, size_t most = SIZE_MAX) : keep_(keep), most_(most) {}

  // Whether so many bytes more may be used, which are in use from now on.
  bool use(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (bytes > most_ - used_) return false;
    used_ += bytes;
    return true;
  }

  std::unique_ptr<Memory> take(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = std::find_if(blocks_.begin(), blocks_.end(),
                                    [bytes](const Block& block) { return block.bytes == bytes; });
    if (found == blocks_.end()) return nullptr;
    std::unique_ptr<Memory> memory = std::move(found->memory);
    blocks_.erase(found);
    return memory;
  }

  // Nobody uses it any more; there may be none.
  void put(size_t bytes, std::unique_ptr<Memory> memory) {
    Block oldest = {};
    const std::lock_guard<std::mutex> lock(mutex_);
    used_ -= bytes;
    if (!memory) return;
    blocks_.push_back({bytes, std::move(memory)});
    if (blocks_.size() <= keep_) return;
    oldest = std::move(blocks_.front());
    blocks_.pop_front();
  }

 private:
  struct Block {
    size_t bytes;
    std::unique_ptr<Memory> memory;
  };

  const size_t keep_;
  const size_t most_;
  size_t used_ = 0;
  std::mutex mutex_;
  std::deque<Block> blocks_;
};

// Puts the memory back when its last owner is gone.
template <class Memory>
std::shared_ptr<Memory> lent(const std::shared_ptr<Shelf<Memory>>& shelf, size_t bytes,
                             std::unique_ptr<Memory> memory) {
  return {memory.release(),
          [shelf, bytes](Memory* unused) { shelf->put(bytes, std::unique_ptr<Memory>(unused)); }};
}

using DeviceShelf = Shelf<device::DeviceMemory>;
using PinnedShelf = Shelf<device::PinnedMemory>;

BufferPointer take(const std::shared_ptr<DeviceShelf>& shelf, const Sizes& shape,
                   const py::object& dtype, const StreamPointer& stream) {
  BufferPointer buffer = std::make_shared<Buffer>();
  buffer->dtype = py::dtype::from_args(dtype);
  check_shape(shape, buffer->dtype);
  buffer->shape = shape;
  buffer->strides = dense_strides(shape, buffer->dtype.itemsize());
  const size_t bytes = buffer->bytes();
  shelf->use(bytes);
  std::unique_ptr<device::DeviceMemory> memory = shelf->take(bytes);
  if (memory) {
    const device::Event event(false);
    event.record(device::Stream(cudaStreamLegacy));
    stream->wait(event);
  } else {
    memory = std::make_unique<device::DeviceMemory>(bytes);
  }
  buffer->data = memory->data();
  buffer->owner = lent(shelf, bytes, std::move(memory));
  buffer->device = device::current_device();
  return buffer;
}

py::object take_pinned(const std::shared_ptr<PinnedShelf>& shelf, const Sizes& shape,
                       const py::object& dtype) {
  PinnedBuffer buffer = {};
  buffer.dtype = py::dtype::from_args(dtype);
  check_shape(shape, buffer.dtype);
  buffer.shape = shape;
  buffer.strides = dense_strides(shape, buffer.dtype.itemsize());
  const size_t bytes = buffer.bytes();
  if (!shelf->use(bytes)) return py::none();
  std::unique_ptr<device::PinnedMemory> memory = shelf->take(bytes);
  if (!memory) {
    try {
      memory = std::make_unique<device::PinnedMemory>(bytes, false);
    } catch (...) {
      shelf->put(bytes, nullptr);
      throw;
    }
  }
  buffer.data = memory->data();
  buffer.owner = lent(shelf, bytes, std::move(memory));
  return py::cast(std::move(buffer));
}

}  // namespace

void register_memory_pool(py::module_& module) {
  py::class_<DeviceShelf, std::shared_ptr<DeviceShelf>>(module, "MemoryPool", kPool)
      .def(py::init<size_t>(), py::arg("keep"))
      .def("take", take, py::arg("shape"), py::arg("dtype"), py::kw_only(),
           py::arg("stream").none(false), kTake);
  py::class_<PinnedShelf, std::shared_ptr<PinnedShelf>>(module, "PinnedMemoryPool", kPinnedPool)
      .def(py::init<size_t, size_t>(), py::arg("keep"), py::arg("most"))
      .def("take", take_pinned, py::arg("shape"), py::arg("dtype"), kTakePinned);
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
