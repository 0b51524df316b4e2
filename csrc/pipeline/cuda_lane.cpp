#include "pipeline/cuda_lane.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "cpu/image.h"
#include "threads/parallel.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

constexpr size_t kMostGraphs = 6;    // of a lane; an image needs two, so this is three shapes
constexpr int64_t kPiece = 1 << 19;  // bytes: above it a thread is worth waking

// Are a row's pixels side by side, or do they leave out no more than the fourth channel?
bool has_dense_rows(const ImageView& image) {
  const int64_t value = pipeline::value_bytes(image.type);
  const bool beside = image.channels == 1 || image.channel_stride == value;
  const int64_t pixel = image.width == 1 ? value * image.channels : image.column_stride;
  return beside && (pixel == value * image.channels || (image.channels == 3 && pixel == 4 * value));
}

// Of the bytes from the first value of a view with dense rows to its last.
size_t span_bytes(const ImageView& image) {
  const int64_t last =
      (image.height - 1) * image.row_stride + (image.width - 1) * image.column_stride;
  return static_cast<size_t>(last + pipeline::value_bytes(image.type) * image.channels);
}

bool is_dense(const ImageView& image) {
  return has_dense_rows(image) &&
         (image.height == 1 || image.row_stride == image.width * image.column_stride);
}

void copy_row(const ImageView& image, int64_t row, std::byte* out, size_t bytes) {
  if (has_dense_rows(image)) {
    std::memcpy(out, image.data + row * image.row_stride, bytes);
    return;
  }
  with_value_type(image.type, [&](auto zero) {
    std::vector<decltype(zero)> scratch;
    std::memcpy(out, cpu::row_values(image, row, scratch), bytes);
  });
}

// As an image lies once it is copied: rows side by side.
ImageView packed(const ImageView& image) {
  ImageView view = image;
  const int64_t value = pipeline::value_bytes(image.type);
  if (!has_dense_rows(image) || image.width == 1) view.column_stride = value * image.channels;
  view.channel_stride = value;
  view.row_stride = view.column_stride * view.width;
  return view;
}

std::string in_one_line(const std::string& text) {
  std::string line = text;
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

}  // namespace

std::byte* Lane::device(int name, size_t bytes) {
  // What the host reads once and kernels write once is in memory that both use where they share it.
  // On Tegra the GPU does not cache such memory: maps and labels, which kernels read and write
  // again and again, are copied once instead.
  if (integrated_ && (name == kMask || name == kLimits)) return pinned_area(name, bytes).device;
  Area& block = device_[name];
  if (block.bytes < bytes || !block.owner) {
    block = {};
    const auto memory = std::make_shared<DeviceMemory>(std::max<size_t>(1, bytes));
    block = {memory, bytes, nullptr, static_cast<std::byte*>(memory->data())};
  }
  return block.device;
}

Lane::Area& Lane::pinned_area(int name, size_t bytes) {
  Area& block = pinned_[name];
  if (block.bytes < bytes || !block.owner) {
    block = {};
    const auto memory = std::make_shared<PinnedMemory>(std::max<size_t>(1, bytes), integrated_);
    block = {memory, bytes, static_cast<std::byte*>(memory->data()),
             static_cast<std::byte*>(memory->device())};
  }
  return block;
}

std::byte* Lane::pinned(int name, size_t bytes) { return pinned_area(name, bytes).host; }

std::byte* Lane::staging(int name, size_t bytes) {
  if (!staged_.insert(name).second) synchronize();
  return pinned(name, bytes);
}

ImageView Lane::send(int name, const ImageView& view) {
  const auto bytes = static_cast<size_t>(view.height * view.row_stride);
  ImageView there = view;
  if (integrated_) {
    there.data = pinned_area(name, bytes).device;
    return there;
  }
  std::byte* const to = device(name, bytes);
  copy(to, pinned(name, bytes), bytes, copies().handle());
  there.data = to;
  return there;
}

ImageView Lane::upload(int name, const ImageView& image, int threads) {
  ImageView view = packed(image);
  std::byte* const to = staging(name, static_cast<size_t>(view.height * view.row_stride));
  const auto row_bytes = static_cast<size_t>((view.width - 1) * view.column_stride +
                                             view.channel_stride * view.channels);
  const int64_t rows = std::max<int64_t>(1, kPiece / view.row_stride);
  cpu::parallel_for(view.height, rows, threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      copy_row(image, row, to + row * view.row_stride, row_bytes);
    }
  });
  return send(name, view);
}

ImageView Lane::download(int name, const ImageView& view) {
  std::ptrdiff_t first = 0;
  std::ptrdiff_t last = pipeline::value_bytes(view.type);
  const auto reach = [&](int64_t length, std::ptrdiff_t stride) {
    (stride < 0 ? first : last) += (length - 1) * stride;
  };
  reach(view.height, view.row_stride);
  reach(view.width, view.column_stride);
  reach(view.channels, view.channel_stride);
  const auto bytes = static_cast<size_t>(last - first);
  std::byte* const to = pinned(name, bytes);
  copy(to, view.data + first, bytes, copies().handle());
  synchronize();
  ImageView here = view;
  here.data = to - first;
  return here;
}

const std::byte* Lane::seen_from_host(const void* address) const {
  if (!integrated_) return nullptr;
  const auto* const at = static_cast<const std::byte*>(address);
  for (const auto& [name, block] : pinned_) {
    if (block.device <= at && at < block.device + block.bytes) {
      return block.host + (at - block.device);
    }
  }
  return nullptr;
}

std::shared_ptr<void> Lane::owner_of(const void* address) const {
  for (const auto* areas : {&device_, &pinned_}) {
    for (const auto& [name, area] : *areas) {
      if (area.device == address) return area.owner;
    }
  }
  return nullptr;
}

std::vector<std::shared_ptr<void>> Lane::blocks() const {
  std::vector<std::shared_ptr<void>> found;
  for (const auto& [name, block] : device_) found.push_back(block.owner);
  for (const auto& [name, block] : pinned_) found.push_back(block.owner);
  return found;
}

const Stream& Lane::on(const Stream& stream) {
  if (&stream != last_) {
    event_.record(*last_);
    stream.wait(event_);
    last_ = &stream;
  }
  return stream;
}

void Lane::wait_for_default_stream() {
  const Stream& stream = copies();
  event_.record(Stream(cudaStreamLegacy));
  stream.wait(event_);
}

Lane::Replay& Lane::find(const Key& key) {
  const auto found = std::find_if(replays_.begin(), replays_.end(),
                                  [&](const Replay& replay) { return replay.key == key; });
  if (found != replays_.end()) {
    replays_.splice(replays_.begin(), replays_, found);
  } else {
    replays_.emplace_front();
    replays_.front().key = key;
  }
  if (replays_.size() > kMostGraphs) {
    Replay& oldest = replays_.back();
    if (oldest.stream) {
      synchronize();  // its graph, and its engine's state, may be at work
      if (last_ == oldest.stream.get()) last_ = &compute_;
      spare_ = std::move(oldest.stream);
    }
    replays_.pop_back();
  }
  ++replays_.front().seen;
  return replays_.front();
}

Outputs Lane::repeat(const Key& key, const ImageView& image,
                     const std::function<Outputs(const ImageView&)>& work,
                     const std::function<void(const std::string&)>& warn) {
  Replay& replay = find(key);
  // An image with gaps cannot be brought to where a graph looks for it.
  if (replay.seen == 1 || replay.has_no_graph || !is_dense(image)) return work(image);
  if (!replay.stream) prepare(replay, image);
  const Stream& stream = on(*replay.stream);
  if (image.data != replay.image.data) {
    auto* const to = const_cast<std::byte*>(replay.image.data);
    copy(to, image.data, span_bytes(image), stream.handle());
  }
  if (replay.graph.is_empty()) {
    record(replay, work, warn);
  } else {
    replay.graph.launch(stream);
  }
  return replay.places;
}

void Lane::prepare(Replay& replay, const ImageView& image) {
  replay.image = image;
  replay.image_owner = owner_of(image.data);
  if (!replay.image_owner) {
    const auto memory = std::make_shared<DeviceMemory>(span_bytes(image));
    replay.image.data = static_cast<std::byte*>(memory->data());
    replay.image_owner = memory;
  }
  replay.stream = spare_ ? std::move(spare_) : std::make_unique<Stream>();
}

void Lane::record(Replay& replay, const std::function<Outputs(const ImageView&)>& work,
                  const std::function<void(const std::string&)>& warn) {
  // Kernels go to the replay's stream until the end of this function, whatever happens.
  const auto restore = [this](const Stream*) { work_ = &compute_; };
  work_ = replay.stream.get();
  const std::unique_ptr<const Stream, decltype(restore)> working(work_, restore);
  tile_shapes_.clear();
  replay.places = work(replay.image);  // so that all is in place
  replay.has_no_graph = tile_shapes_.size() > 1;
  if (replay.has_no_graph) return;
  try {
    replay.stream->begin_capture();
    work(replay.image);
    replay.stream->end_capture(replay.graph);
    replay.kept = blocks();
  } catch (const std::runtime_error& error) {  // of CUDA or of the engine
    replay.stream->abandon_capture();
    replay.has_no_graph = true;
    warn("images of " + std::to_string(replay.image.height) + " x " +
         std::to_string(replay.image.width) +
         " pixels run without a graph: " + in_one_line(error.what()));
  } catch (...) {
    replay.stream->abandon_capture();
    throw;
  }
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
