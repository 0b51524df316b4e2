// Streams, events and graphs that give back what they hold.
#pragma once

#include <cstdint>

#include "cuda/check.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

class Event;
class Graph;

// Work in order. Does not wait for the legacy default stream, nor that for it.
class Stream {
 public:
  Stream();
  // A stream that somebody else owns.
  explicit Stream(cudaStream_t handle) : handle_(handle), owned_(false) {}
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t handle() const { return handle_; }
  void synchronize() const;
  void wait(const Event& event) const;

  // Until end_capture, work goes into a graph and is not done.
  void begin_capture() const;
  void end_capture(Graph& graph) const;
  void abandon_capture() const;

 private:
  cudaStream_t handle_ = nullptr;
  bool owned_ = true;
};

class Event {
 public:
  explicit Event(bool timing);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  cudaEvent_t handle() const { return handle_; }
  void record(const Stream& stream) const;
  void synchronize() const;
  double milliseconds_since(const Event& start) const;

 private:
  cudaEvent_t handle_ = nullptr;
};

// Work that was captured once, to be given to a stream as often as wanted.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  bool is_empty() const { return executable_ == nullptr; }
  void instantiate(cudaGraph_t graph);
  void launch(const Stream& stream) const;

 private:
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace nucleiseg::NUCLEISEG_DEVICE
