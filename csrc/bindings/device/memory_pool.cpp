#include <algorithm>
#include <deque>
#include <mutex>

#include "bindings/arguments.h"
#include "bindings/device/array.h"
#include "bindings/device/registry.h"

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

using Memory = std::unique_ptr<device::DeviceMemory>;

struct Block {
  size_t bytes;
  Memory memory;
};

// Arrays outlive the pool that they come from, so both share this. Nothing of the device is called
// with the lock held.
class Shelf {
 public:
  explicit Shelf(size_t keep) : keep_(keep) {}

  Memory take(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = std::find_if(blocks_.begin(), blocks_.end(),
                                    [bytes](const Block& block) { return block.bytes == bytes; });
    if (found == blocks_.end()) return nullptr;
    Memory memory = std::move(found->memory);
    blocks_.erase(found);
    return memory;
  }

  void put(Block block) {
    Block oldest = {};
    const std::lock_guard<std::mutex> lock(mutex_);
    blocks_.push_back(std::move(block));
    if (blocks_.size() <= keep_) return;
    oldest = std::move(blocks_.front());
    blocks_.pop_front();
  }

 private:
  const size_t keep_;
  std::mutex mutex_;
  std::deque<Block> blocks_;
};

using ShelfPointer = std::shared_ptr<Shelf>;

BufferPointer take(const ShelfPointer& shelf, const Sizes& shape, const py::object& dtype,
                   const StreamPointer& stream) {
  BufferPointer buffer = std::make_shared<Buffer>();
  buffer->dtype = py::dtype::from_args(dtype);
  check_shape(shape, buffer->dtype);
  buffer->shape = shape;
  buffer->strides = dense_strides(shape, buffer->dtype.itemsize());
  const size_t bytes = buffer->bytes();
  Memory memory = shelf->take(bytes);
  if (memory) {
    const device::Event event(false);
    event.record(device::Stream(cudaStreamLegacy));
    stream->wait(event);
  } else {
    memory = std::make_unique<device::DeviceMemory>(bytes);
  }
  buffer->data = memory->data();
  buffer->owner = std::shared_ptr<device::DeviceMemory>(
      memory.release(),
      [shelf, bytes](device::DeviceMemory* unused) { shelf->put({bytes, Memory(unused)}); });
  return buffer;
}

}  // namespace

void register_memory_pool(py::module_& module) {
  py::class_<Shelf, ShelfPointer>(module, "MemoryPool", kPool)
      .def(py::init<size_t>(), py::arg("keep"))
      .def("take", take, py::arg("shape"), py::arg("dtype"), py::kw_only(),
           py::arg("stream").none(false), kTake);
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
