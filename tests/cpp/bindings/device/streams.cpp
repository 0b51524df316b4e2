#include <cstdint>

#include "bindings/gil.h"
#include "cpp/bindings/device/arrays.h"

namespace nucleiseg::bindings::NUCLEISEG_DEVICE {
namespace {

using device::Event;
using device::Graph;
using device::Stream;
using Unlocked = py::call_guard<GilReleased>;

constexpr const char* kStream = R"(Work for the device, done in order.

Parameters
----------
handle : int, optional
    A ``cudaStream_t`` that somebody else owns and keeps; a stream of its own where it is not given.
)";

constexpr const char* kEvent = R"(A place in a stream's work, to wait for.

Parameters
----------
timing : bool
    Whether `milliseconds_since` is wanted, which costs a little.
)";

constexpr const char* kGraph =
    R"(Work that was captured once, to be given to a stream again and again.

Made by ``with stream.capture() as graph:``. Whoever launches it keeps the arrays that were used
alive.
)";

constexpr const char* kCapture =
    R"(Put the work of a ``with`` block into a `Graph` instead of doing it.

In the block nothing may wait for the stream or allocate; streams that wait for an event of this one
are captured too, and must be waited for before the block ends.

Returns
-------
context manager
    Gives the `Graph`, which can be launched after the block.
)";

class Capture {
 public:
  explicit Capture(StreamPointer stream) : stream_(std::move(stream)) {}

  std::shared_ptr<Graph> enter() {
    stream_->begin_capture();
    return graph_;
  }

  void exit(const py::object& exception, const py::object&, const py::object&) {
    if (exception.is_none()) {
      stream_->end_capture(*graph_);
    } else {
      stream_->abandon_capture();
    }
  }

 private:
  StreamPointer stream_;
  std::shared_ptr<Graph> graph_ = std::make_shared<Graph>();
};

bool is_done(cudaError_t answer) {
  if (answer == cudaErrorNotReady) {
    cudaGetLastError();  // no error, but the next launch would report it as one
    return false;
  }
  NUCLEISEG_CHECK(answer);
  return true;
}

bool is_stream_done(const Stream& self) {
  const GilReleased release;
  return is_done(cudaStreamQuery(self.handle()));
}

bool is_event_done(const Event& self) {
  const GilReleased release;
  return is_done(cudaEventQuery(self.handle()));
}

void launch(const Graph& graph, const Stream& stream) {
  if (graph.is_empty()) throw py::value_error("graph: it is empty until its capture has ended");
  const GilReleased release;
  graph.launch(stream);
}

void add_stream(py::module_& module) {
  py::class_<Stream, StreamPointer>(module, "Stream", kStream)
      .def(py::init<>())
      .def(py::init([](uintptr_t handle) {
             return std::make_shared<Stream>(reinterpret_cast<cudaStream_t>(handle));
           }),
           py::arg("handle"))
      .def_property_readonly(
          "handle", [](const Stream& self) { return reinterpret_cast<uintptr_t>(self.handle()); },
          "The ``cudaStream_t``, for other libraries.")
      .def("synchronize", &Stream::synchronize, Unlocked(), "Wait until all its work is done.")
      .def_property_readonly("done", is_stream_done, "Whether all its work is done.")
      .def("wait", &Stream::wait, py::arg("event").none(false), Unlocked(),
           "Let later work wait for the event; the caller does not.")
      .def("capture", [](const StreamPointer& self) { return Capture(self); }, kCapture);
}

void add_event(py::module_& module) {
  py::class_<Event>(module, "Event", kEvent)
      .def(py::init<bool>(), py::arg("timing") = false)
      .def("record", &Event::record, py::arg("stream").none(false), Unlocked(),
           "Stand behind all work that the stream has been given.")
      .def("synchronize", &Event::synchronize, Unlocked(), "Wait for it.")
      .def_property_readonly("done", is_event_done, "Whether it has been reached.")
      .def("milliseconds_since", &Event::milliseconds_since, py::arg("start").none(false),
           Unlocked(), "From that event to this one; both were made with ``timing=True``.");
}

}  // namespace

void register_streams(py::module_& module) {
  add_stream(module);
  add_event(module);
  py::class_<Graph, std::shared_ptr<Graph>>(module, "Graph", kGraph)
      .def("launch", launch, py::arg("stream").none(false), "Give the work to a stream.");
  py::class_<Capture>(module, "Capture", "See `Stream.capture`.")
      .def("__enter__", &Capture::enter)
      .def("__exit__", &Capture::exit);
}

}  // namespace nucleiseg::bindings::NUCLEISEG_DEVICE
