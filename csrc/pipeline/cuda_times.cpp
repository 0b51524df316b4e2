#include "pipeline/cuda_times.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

using Work = std::function<void()>;

void capture(const Stream& stream, const Work& work, Graph& graph) {
  try {
    stream.begin_capture();
    work();
    stream.end_capture(graph);
  } catch (...) {
    stream.abandon_capture();
    throw;
  }
}

double milliseconds(const Stream& stream, int repeats, const Work& work) {
  constexpr size_t kPasses = 7;
  work();
  Graph graph;
  const auto all = [&] {
    for (int i = 0; i < repeats; ++i) work();
  };
  capture(stream, all, graph);
  graph.launch(stream);
  const Event begin(true);
  const Event end(true);
  std::vector<double> times;
  for (size_t i = 0; i < kPasses; ++i) {
    begin.record(stream);
    graph.launch(stream);
    end.record(stream);
    end.synchronize();
    times.push_back(end.milliseconds_since(begin) / repeats);
  }
  std::nth_element(times.begin(), times.begin() + kPasses / 2, times.end());
  return times[kPasses / 2];
}

// Tiles from the host with the network, in memory and a stream of their own.
class Trial {
 public:
  Trial(const CudaDevice& device, const Tiles& host)
      : device_(device),
        bytes_(static_cast<size_t>(host.count * host.height * host.width)),
        tiles_(bytes_ * kernels::kImageChannels),
        cells_(bytes_ * kernels::kMapChannels),
        there_{static_cast<const uint8_t*>(tiles_.data()), host.count, host.height, host.width,
               static_cast<uint8_t*>(cells_.data())} {
    copy(tiles_.data(), host.data, bytes_ * kernels::kImageChannels, stream_.handle());
    send(host.cells);
    stream_.synchronize();
  }

  const Stream& stream() const { return stream_; }
  void run() {
    device_.engine()(there_, stream_.handle(), [&](size_t bytes) { return memory(bytes); });
  }
  void send(const uint8_t* cells) {
    copy(cells_.data(), cells, bytes_ * kernels::kMapChannels, stream_.handle());
  }
  void fetch(uint8_t* cells) {
    copy(cells, cells_.data(), bytes_ * kernels::kMapChannels, stream_.handle());
    stream_.synchronize();
  }

 private:
  void* memory(size_t bytes) {
    if (!memory_ || memory_bytes_ < bytes) {
      memory_.reset();
      memory_ = std::make_unique<DeviceMemory>(bytes);
      memory_bytes_ = bytes;
    }
    return memory_->data();
  }

  const CudaDevice& device_;
  const size_t bytes_;
  const DeviceMemory tiles_;
  const DeviceMemory cells_;
  const Tiles there_;
  const Stream stream_;
  std::unique_ptr<DeviceMemory> memory_;
  size_t memory_bytes_ = 0;
};

}  // namespace

void infer(const CudaDevice& device, const Tiles& tiles, bool by_graph) {
  device.enter();
  Trial trial(device, tiles);
  trial.run();
  if (by_graph) {
    trial.send(tiles.cells);
    Graph graph;
    capture(trial.stream(), [&] { trial.run(); }, graph);
    graph.launch(trial.stream());
    trial.fetch(tiles.cells);
    return;
  }
  trial.fetch(tiles.cells);
}

double network_milliseconds(const CudaDevice& device, const Tiles& tiles, int repeats) {
  device.enter();
  Trial trial(device, tiles);
  return milliseconds(trial.stream(), repeats, [&] { trial.run(); });
}

double copy_milliseconds(size_t bytes, int repeats) {
  const DeviceMemory from(bytes);
  const DeviceMemory to(bytes);
  const Stream stream;
  fill(from.data(), 7, bytes, stream.handle());
  return milliseconds(stream, repeats,
                      [&] { copy(to.data(), from.data(), bytes, stream.handle()); });
}

std::vector<std::pair<std::string, double>> step_milliseconds(CudaDevice& device,
                                                              const Settings& settings,
                                                              const ImageView& image, int repeats,
                                                              int32_t* labels) {
  CudaSteps steps(device, settings, image);
  const Size size = pipeline::size_of(image);
  const auto padded = [&](int64_t side) {
    return (side + settings.stride - 1) / settings.stride * settings.stride;
  };
  const int64_t rows = padded(size.height);
  const int64_t columns = padded(size.width);
  const ImageView there = steps.image();
  const auto image_bytes = static_cast<size_t>(there.height * there.row_stride);
  const auto label_bytes = static_cast<size_t>(size.pixels()) * sizeof(int32_t);
  const PinnedMemory source(image_bytes, false);
  const DeviceMemory target(image_bytes);
  const PinnedMemory answer(label_bytes, false);

  uint8_t wanted = 0;
  const Outputs places = steps.places({&wanted, labels, &wanted}, size);
  const ImageView maps = pipeline::maps_view(places.maps, size);
  uint8_t* const picture = steps.memory(Block::kPicture, size.pixels() * kernels::kImageChannels);
  uint8_t* const tile = steps.memory(Block::kTiles, rows * columns * kernels::kImageChannels);
  uint8_t* const cells = steps.memory(Block::kCells, rows * columns * kernels::kMapChannels);
  const std::vector<Point> origins = {{0, 0}};
  const std::vector<Rectangle> cores = {{0, size.height, 0, size.width}};
  const Plane<const uint8_t> pixels = {picture, size.height, size.width,
                                       size.width * kernels::kImageChannels};
  const Plane<uint8_t> out = {places.maps, size.height, size.width,
                              size.width * kernels::kMapChannels};
  const auto copied = [&](void* to, const void* from, size_t bytes) {
    return [&steps, to, from, bytes] { copy(to, from, bytes, steps.stream().handle()); };
  };
  const std::pair<const char*, Work> works[] = {
      {"upload", copied(target.data(), source.data(), image_bytes)},
      {"limits", [&] { steps.find_limits(there); }},
      {"normalize", [&] { steps.normalize(there, picture); }},
      {"gather", [&] { steps.gather(pixels, origins, rows, columns, tile); }},
      {"network", [&] { steps.infer(tile, 1, rows, columns, cells); }},
      {"assemble", [&] { steps.assemble(cells, rows, columns, origins, cores, out); }},
      {"mask", [&] { steps.mask(maps, places.mask); }},
      {"label", [&] { steps.label(maps, settings.rule, places.labels); }},
      {"download", copied(answer.data(), places.labels, label_bytes)}};
  std::vector<std::pair<std::string, double>> found;
  for (const auto& [name, work] : works) {
    found.emplace_back(name, milliseconds(steps.stream(), repeats, work));
  }
  std::memcpy(labels, answer.data(), label_bytes);
  return found;
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
