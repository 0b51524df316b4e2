#include <chrono>

#include "emulation/state.h"

namespace emulation {
namespace {

double now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

thread_local int captures = 0;

bool is_known(Stream* stream) { return state().streams.count(stream) > 0; }
bool is_known(Event* event) { return state().events.count(event) > 0; }

// The stream has new work: whoever joined it before has to do so again.
void capture(Stream* stream, Work work) {
  Capture& into = *stream->capture;
  into.work.push_back(std::move(work));
  if (stream != into.origin) into.unjoined.insert(stream);
}

void leave_capture(const std::shared_ptr<Capture>& capture) {
  for (Stream* stream : capture->members) {
    if (is_known(stream)) stream->capture.reset();
  }
  --captures;
}

}  // namespace

bool is_capturing() { return captures > 0; }

void Queue::finish_one() {
  if (busy) return;
  const Work work = std::move(waiting.front());
  waiting.pop_front();
  busy = true;
  ++state().busy;
  work();
  --state().busy;
  busy = false;
  ++done;
  free_late();
}

void Queue::finish(uint64_t count) {
  while (!busy && done < count && !waiting.empty()) finish_one();
}

Error enqueue(Stream* stream, Work work) {
  const Lock lock;
  stream = resolve(stream);
  if (!is_known(stream)) return cudaErrorInvalidResourceHandle;
  if (stream->capture) {
    capture(stream, std::move(work));
    return cudaSuccess;
  }
  stream->queue->waiting.push_back(std::move(work));
  ++stream->queue->given;
  return cudaSuccess;
}

Error cudaStreamCreateWithFlags(Stream** stream, unsigned) {
  const Lock lock;
  *stream = new Stream;
  state().streams.insert(*stream);
  ++state().usage.streams;
  return cudaSuccess;
}

Error cudaStreamDestroy(Stream* stream) {
  const Lock lock;
  if (!is_known(stream)) return cudaErrorInvalidResourceHandle;
  if (stream->capture && stream->capture->origin == stream) leave_capture(stream->capture);
  stream->queue->finish(stream->queue->given);
  state().streams.erase(stream);
  --state().usage.streams;
  delete stream;
  return cudaSuccess;
}

Error cudaStreamSynchronize(Stream* stream) {
  const Lock lock;
  stream = resolve(stream);
  if (!is_known(stream)) return cudaErrorInvalidResourceHandle;
  if (stream->capture) return cudaErrorStreamCaptureUnsupported;
  stream->queue->finish(stream->queue->given);
  return cudaSuccess;
}

// Each question finds one more piece of work done.
Error cudaStreamQuery(Stream* stream) {
  const Lock lock;
  stream = resolve(stream);
  if (!is_known(stream)) return cudaErrorInvalidResourceHandle;
  if (stream->capture) return cudaErrorStreamCaptureUnsupported;
  if (stream->queue->waiting.empty()) return cudaSuccess;
  stream->queue->finish_one();
  return stream->queue->waiting.empty() ? cudaSuccess : cudaErrorNotReady;
}

Error cudaStreamWaitEvent(Stream* stream, Event* event, unsigned) {
  const Lock lock;
  stream = resolve(stream);
  if (!is_known(stream) || !is_known(event)) return cudaErrorInvalidResourceHandle;
  if (event->capture && event->capture->members.count(event->captured_in) > 0) {
    if (stream->capture && stream->capture != event->capture) return cudaErrorInvalidValue;
    if (!stream->capture && event->capture->origin->capture == event->capture) {
      stream->capture = event->capture;
      stream->capture->members.insert(stream);
    }
    event->capture->unjoined.erase(event->captured_in);
    if (stream != event->capture->origin) event->capture->unjoined.insert(stream);
    return cudaSuccess;
  }
  if (stream->capture) return cudaErrorStreamCaptureUnsupported;
  if (!event->queue) return cudaSuccess;
  return enqueue(stream, [queue = event->queue, place = event->place] { queue->finish(place); });
}

Error cudaStreamBeginCapture(Stream* stream, CaptureMode) {
  const Lock lock;
  if (!is_known(stream)) return cudaErrorInvalidResourceHandle;
  if (stream->capture) return cudaErrorInvalidValue;
  stream->capture = std::make_shared<Capture>(Capture{stream, {}, {}, {stream}});
  ++captures;
  return cudaSuccess;
}

Error cudaStreamEndCapture(Stream* stream, Graph** graph) {
  const Lock lock;
  *graph = nullptr;
  if (!is_known(stream)) return cudaErrorInvalidResourceHandle;
  const std::shared_ptr<Capture> ended = stream->capture;
  if (!ended || ended->origin != stream) return cudaErrorStreamCaptureUnmatched;
  leave_capture(ended);
  if (!ended->unjoined.empty()) return cudaErrorStreamCaptureUnjoined;
  *graph = new Graph{ended->work};
  ++state().usage.graphs;
  return cudaSuccess;
}

Error cudaEventCreateWithFlags(Event** event, unsigned flags) {
  const Lock lock;
  *event = new Event;
  (*event)->timed = (flags & cudaEventDisableTiming) == 0;
  state().events.insert(*event);
  ++state().usage.events;
  return cudaSuccess;
}

Error cudaEventDestroy(Event* event) {
  const Lock lock;
  if (!is_known(event)) return cudaErrorInvalidResourceHandle;
  state().events.erase(event);
  --state().usage.events;
  delete event;
  return cudaSuccess;
}

Error cudaEventRecord(Event* event, Stream* stream) {
  const Lock lock;
  stream = resolve(stream);
  if (!is_known(event) || !is_known(stream)) return cudaErrorInvalidResourceHandle;
  if (stream->capture) {
    event->capture = stream->capture;
    event->captured_in = stream;
    return cudaSuccess;
  }
  event->capture.reset();
  event->queue = stream->queue;
  event->seconds = std::make_shared<double>(0);
  const Error error = enqueue(stream, [seconds = event->seconds] { *seconds = now(); });
  event->place = stream->queue->given;
  return error;
}

Error cudaEventQuery(Event* event) {
  const Lock lock;
  if (!is_known(event)) return cudaErrorInvalidResourceHandle;
  if (event->capture) return cudaErrorStreamCaptureUnsupported;
  if (!event->queue || event->queue->done >= event->place) return cudaSuccess;
  event->queue->finish(event->queue->done + 1);
  return event->queue->done >= event->place ? cudaSuccess : cudaErrorNotReady;
}

Error cudaEventSynchronize(Event* event) {
  const Lock lock;
  if (!is_known(event)) return cudaErrorInvalidResourceHandle;
  if (event->capture) return cudaErrorStreamCaptureUnsupported;
  if (event->queue) event->queue->finish(event->place);
  return cudaSuccess;
}

Error cudaEventElapsedTime(float* milliseconds, Event* start, Event* end) {
  const Lock lock;
  if (!is_known(start) || !is_known(end)) return cudaErrorInvalidResourceHandle;
  if (!start->timed || !end->timed || !start->queue || !end->queue) {
    return cudaErrorInvalidResourceHandle;
  }
  if (start->queue->done < start->place || end->queue->done < end->place) return cudaErrorNotReady;
  *milliseconds = static_cast<float>((*end->seconds - *start->seconds) * 1e3);
  return cudaSuccess;
}

Error cudaGraphInstantiate(Graph** executable, Graph* graph, unsigned long long) {
  const Lock lock;
  *executable = new Graph{graph->work};
  ++state().usage.graphs;
  return cudaSuccess;
}

Error cudaGraphLaunch(Graph* executable, Stream* stream) {
  const Lock lock;
  for (const Work& work : executable->work) {
    const Error error = enqueue(stream, work);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

Error cudaGraphDestroy(Graph* graph) {
  const Lock lock;
  --state().usage.graphs;
  delete graph;
  return cudaSuccess;
}

Error cudaGraphExecDestroy(Graph* executable) { return cudaGraphDestroy(executable); }

}  // namespace emulation
