// What one image at a time needs on a GPU: streams, memory that is used again, and recorded graphs.
//
// Kernels and the network are given to one stream and copies to another, so that those of this
// image overlap the other lanes'. Each stream waits for the last one that was given work, so that
// all work of a lane is done in its order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "cuda/memory.h"
#include "cuda/stream.h"
#include "pipeline/flow.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

using pipeline::Outputs;

// Names of memory beside those of pipeline::Block.
enum Name : int {
  kImage = static_cast<int>(pipeline::Block::kCount),
  kMask,
  kLabels,
  kLabelCount,
  kSearch,
  kLimits,
  kGivenLimits,
  kLayers,
  kWorkspace,
  kSource,
  kHost,
  kMaskOut,
  kLabelsOut,
  kMapsOut,
};

// What a graph depends on: a task, tiles, the image's shape and type.
using Key = std::vector<int64_t>;

class Lane {
 public:
  // `integrated`: the device shares the host's memory. Then page-locked memory is mapped, and what
  // the host reads or writes once is used in place.
  explicit Lane(bool integrated) : integrated_(integrated) {}

  // Memory for kernels that is not set to anything, that of the last block of this name where it is
  // large enough; and page-locked memory of the host, likewise.
  std::byte* device(int name, size_t bytes);
  std::byte* pinned(int name, size_t bytes);
  // Page-locked memory for what is sent next, once what was there before is on its way no more.
  std::byte* staging(int name, size_t bytes);
  // What kernels read where that memory, of a view without gaps between rows, is sent to.
  ImageView send(int name, const ImageView& view);
  // Sends an image of any strides, copied by some threads.
  ImageView upload(int name, const ImageView& image, int threads);
  // Copies what a view spans to the host, and waits for it.
  ImageView download(int name, const ImageView& view);
  // An address of a mapped block as the host sees it; null for any other.
  const std::byte* seen_from_host(const void* address) const;

  // The stream of kernels, and that of copies, after all work so far.
  const Stream& work() { return on(*work_); }
  const Stream& copies() { return on(copies_); }
  // Lets the next copy wait for what the legacy default stream was given.
  void wait_for_default_stream();
  // Waits for all that was given to the lane.
  void synchronize() const { last_->synchronize(); }
  // Nothing is under way, and the next image may use all memory.
  void begin() { staged_.clear(); }

  void note_tiles(int64_t count, int64_t height, int64_t width) {
    tile_shapes_.insert({count, height, width});
  }

  // Does the work on an image on the device. From the third time on a graph does it, that is
  // launched at once. A capture that fails is reported to `warn`; images of that key then have
  // none.
  Outputs repeat(const Key& key, const ImageView& image,
                 const std::function<Outputs(const ImageView&)>& work,
                 const std::function<void(const std::string&)>& warn);

 private:
  struct Area {
    std::shared_ptr<void> owner;
    size_t bytes = 0;
    std::byte* host = nullptr;
    std::byte* device = nullptr;
  };
  // Work under one key: done step by step at first, then recorded, then launched.
  struct Replay {
    Key key;
    int seen = 0;
    bool has_no_graph = false;       // tiles of several shapes, or the capture failed
    std::unique_ptr<Stream> stream;  // its own, as an engine's state goes with a stream
    std::shared_ptr<void> image_owner;
    ImageView image{};  // where the work finds its input
    Graph graph;
    Outputs places;                           // which each launch writes again
    std::vector<std::shared_ptr<void>> kept;  // memory that the graph uses
  };

  const Stream& on(const Stream& stream);
  Area& pinned_area(int name, size_t bytes);
  // What keeps the block that begins at an address; null where none does.
  std::shared_ptr<void> owner_of(const void* address) const;
  std::vector<std::shared_ptr<void>> blocks() const;
  Replay& find(const Key& key);
  void prepare(Replay& replay, const ImageView& image);
  void record(Replay& replay, const std::function<Outputs(const ImageView&)>& work,
              const std::function<void(const std::string&)>& warn);

  const bool integrated_;
  std::map<int, Area> device_;
  std::map<int, Area> pinned_;
  std::set<int> staged_;
  std::set<std::tuple<int64_t, int64_t, int64_t>> tile_shapes_;
  std::unique_ptr<Stream> spare_;  // of a graph that is gone
  Stream copies_;
  Stream compute_;
  Event event_{false};
  const Stream* last_ = &compute_;  // that all work so far is in, or is waited for by
  const Stream* work_ = &compute_;  // that kernels go to
  std::list<Replay> replays_;       // the most recently used first
};

}  // namespace nucleiseg::NUCLEISEG_DEVICE
