#include "cuda/stream.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

Stream::Stream() { NUCLEISEG_CHECK(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking)); }

Stream::~Stream() {
  if (owned_) cudaStreamDestroy(handle_);
}

void Stream::synchronize() const { NUCLEISEG_CHECK(cudaStreamSynchronize(handle_)); }

void Stream::wait(const Event& event) const {
  NUCLEISEG_CHECK(cudaStreamWaitEvent(handle_, event.handle(), 0));
}

void Stream::begin_capture() const {
  NUCLEISEG_CHECK(cudaStreamBeginCapture(handle_, cudaStreamCaptureModeThreadLocal));
}

void Stream::end_capture(Graph& graph) const {
  cudaGraph_t captured = nullptr;
  NUCLEISEG_CHECK(cudaStreamEndCapture(handle_, &captured));
  graph.instantiate(captured);
}

void Stream::abandon_capture() const {
  cudaGraph_t captured = nullptr;
  cudaStreamEndCapture(handle_, &captured);
  if (captured != nullptr) cudaGraphDestroy(captured);
  cudaGetLastError();
}

Event::Event(bool timing) {
  const unsigned flags = timing ? cudaEventDefault : cudaEventDisableTiming;
  NUCLEISEG_CHECK(cudaEventCreateWithFlags(&handle_, flags));
}

Event::~Event() { cudaEventDestroy(handle_); }

void Event::record(const Stream& stream) const {
  NUCLEISEG_CHECK(cudaEventRecord(handle_, stream.handle()));
}

void Event::synchronize() const { NUCLEISEG_CHECK(cudaEventSynchronize(handle_)); }

double Event::milliseconds_since(const Event& start) const {
  float milliseconds = 0;
  NUCLEISEG_CHECK(cudaEventElapsedTime(&milliseconds, start.handle(), handle_));
  return milliseconds;
}

Graph::~Graph() {
  if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
}

void Graph::instantiate(cudaGraph_t graph) {
  const cudaError_t error = cudaGraphInstantiate(&executable_, graph, 0);
  cudaGraphDestroy(graph);
  check(error, "cudaGraphInstantiate");
}

void Graph::launch(const Stream& stream) const {
  NUCLEISEG_CHECK(cudaGraphLaunch(executable_, stream.handle()));
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
