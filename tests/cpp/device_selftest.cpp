// Every operation on random images, emulated against the CPU: what the race detector and the
// address sanitizer run. Prints what differs and ends with 1 if anything does.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cpu/label/label.h"
#include "cpu/network/network.h"
#include "cpu/normalize/normalize.h"
#include "cpu/tiles/tiles.h"
#include "cuda/label.h"
#include "cuda/mask.h"
#include "cuda/memory.h"
#include "cuda/network.h"
#include "cuda/normalize.h"
#include "cuda/stream.h"
#include "cuda/tiles.h"
#include "cuda/words.h"
#include "emulation/machine.h"
#include "pipeline/cpu_device.h"
#include "pipeline/cuda_device.h"
#include "random_rule.h"

namespace nucleiseg::emulated {
namespace {

using Random = std::mt19937_64;

int failures = 0;

void expect(bool equal, const char* operation, int64_t height, int64_t width, int round) {
  if (equal) return;
  std::printf("%s differs at %lld x %lld, round %d\n", operation, static_cast<long long>(height),
              static_cast<long long>(width), round);
  ++failures;
}

int64_t pick(Random& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

// Memory of the device and the way there and back.
template <class T>
class OnDevice {
 public:
  OnDevice(size_t count, const Stream& stream)
      : count_(count), stream_(stream), memory_(count * sizeof(T)) {}

  OnDevice(const std::vector<T>& values, const Stream& stream) : OnDevice(values.size(), stream) {
    copy(memory_.data(), values.data(), count_ * sizeof(T), stream.handle());
  }

  T* data() const { return static_cast<T*>(memory_.data()); }

  std::vector<T> read() const {
    std::vector<T> values(count_);
    copy(values.data(), memory_.data(), count_ * sizeof(T), stream_.handle());
    stream_.synchronize();
    return values;
  }

 private:
  const size_t count_;
  const Stream& stream_;
  const DeviceMemory memory_;
};

ImageView view_of(const void* data, ValueType type, int64_t height, int64_t width, int64_t channels,
                  std::ptrdiff_t size) {
  return {static_cast<const std::byte*>(data),
          type,
          height,
          width,
          channels,
          width * channels * size,
          channels * size,
          size};
}

// Maps in which neighbours are alike, with peaks and passes of all heights.
std::vector<uint8_t> random_maps(Random& random, int64_t height, int64_t width) {
  const int64_t block = pick(random, 1, 6);
  const int64_t levels = pick(random, 2, 40);
  std::vector<uint8_t> coarse(static_cast<size_t>((height / block + 1) * (width / block + 1) * 2));
  for (uint8_t& value : coarse) {
    value = static_cast<uint8_t>(pick(random, 0, levels - 1) * 255 / (levels - 1));
  }
  std::vector<uint8_t> maps;
  for (int64_t row = 0; row < height; ++row) {
    for (int64_t column = 0; column < width; ++column) {
      const int64_t cell = row / block * (width / block + 1) + column / block;
      for (int64_t map = 0; map < 2; ++map)
        maps.push_back(coarse[static_cast<size_t>(2 * cell + map)]);
    }
  }
  return maps;
}

void test_mask(Random& random, const Stream& stream, int64_t height, int64_t width, int round) {
  const std::vector<uint8_t> maps = random_maps(random, height, width);
  const auto threshold = static_cast<uint8_t>(pick(random, 0, 255));
  std::vector<uint8_t> expected(maps.size() / 2);
  cpu::mask(view_of(maps.data(), ValueType::kUint8, height, width, 2, 1), threshold,
            expected.data(), width, 1);
  const OnDevice<uint8_t> input(maps, stream);
  const OnDevice<uint8_t> found(expected.size(), stream);
  mask(view_of(input.data(), ValueType::kUint8, height, width, 2, 1), threshold, found.data(),
       stream.handle());
  expect(found.read() == expected, "mask", height, width, round);
}

void check_label(const std::vector<uint8_t>& maps, const kernels::LabelRule& rule,
                 const Stream& stream, int64_t height, int64_t width, int round) {
  std::vector<int32_t> expected(maps.size() / 2);
  const int32_t number = cpu::label(view_of(maps.data(), ValueType::kUint8, height, width, 2, 1),
                                    rule, expected.data(), 1);
  const OnDevice<uint8_t> input(maps, stream);
  const OnDevice<int32_t> found(expected.size(), stream);
  const OnDevice<int32_t> count(1, stream);
  const DeviceMemory workspace(label_workspace(height, width));
  label(view_of(input.data(), ValueType::kUint8, height, width, 2, 1), rule, found.data(),
        count.data(), workspace.data(), stream.handle());
  expect(found.read() == expected && count.read()[0] == number, "label", height, width, round);
}

void test_label(Random& random, const Stream& stream, int64_t height, int64_t width, int round) {
  const kernels::LabelRule rule =
      random_rule([&](int64_t low, int64_t high) { return pick(random, low, high); });
  check_label(random_maps(random, height, width), rule, stream, height, width, round);
}

// A row of basins whose passes are low, lower at every second one, and so on: every round of
// joining halves the basins, and so all rounds have something to do.
void test_label_rounds() {
  constexpr int64_t kBasins = 256;
  constexpr int64_t kPitch = 16;
  std::vector<uint8_t> maps(kBasins * kPitch * 2, 250);
  for (int64_t basin = 1; basin < kBasins; ++basin) {
    uint8_t pass = 220;
    for (int64_t rest = basin; rest % 2 == 0; rest /= 2) pass = static_cast<uint8_t>(pass - 20);
    for (int64_t i = 0; i < kPitch / 2; ++i) {
      maps[static_cast<size_t>(2 * (basin * kPitch + i) + 1)] = pass;
    }
  }
  const Stream stream;
  check_label(maps, {0, 0, 255, 0, 0}, stream, 1, kBasins * kPitch, 0);
  check_label(maps, {0, 255, 0, 0, 0}, stream, kBasins * kPitch, 1, 0);
}

template <class T>
void test_normalize(Random& random, const Stream& stream, ValueType type, int64_t height,
                    int64_t width, int round) {
  const int64_t channels = pick(random, 0, 1) * 2 + 1;
  std::vector<T> values(static_cast<size_t>(height * width * channels));
  for (T& value : values) value = static_cast<T>(pick(random, -40000, 40000)) / T{3};
  const auto size = static_cast<std::ptrdiff_t>(sizeof(T));
  const ImageView image = view_of(values.data(), type, height, width, channels, size);
  const double low = static_cast<double>(pick(random, 0, 50));
  const double high = static_cast<double>(pick(random, 50, 100));
  const cpu::Limits limits = cpu::limits(image, low, high, 1);
  std::vector<uint8_t> expected(static_cast<size_t>(height * width * 3));
  cpu::normalize(image, static_cast<float>(limits.low), static_cast<float>(limits.high),
                 static_cast<float>(limits.ceiling), expected.data(), 1);
  const OnDevice<T> input(values, stream);
  const ImageView view = view_of(input.data(), type, height, width, channels, size);
  const DeviceMemory workspace(limits_workspace());
  const OnDevice<Limits> found_limits(1, stream);
  const OnDevice<uint8_t> found(expected.size(), stream);
  limits_of(view, low, high, found_limits.data(), workspace.data(), stream.handle());
  normalize(view, found_limits.data(), found.data(), stream.handle());
  const Limits seen = found_limits.read()[0];
  expect(seen.low == limits.low && seen.high == limits.high && seen.ceiling == limits.ceiling &&
             seen.apart == limits.apart,
         "limits", height, width, round);
  expect(found.read() == expected, "normalize", height, width, round);
}

void test_gather(Random& random, const Stream& stream, int64_t height, int64_t width, int round) {
  std::vector<uint8_t> values(static_cast<size_t>(height * width * 3));
  for (uint8_t& value : values) value = static_cast<uint8_t>(random());
  std::vector<kernels::Point> origins;
  for (int64_t i = pick(random, 0, 5); i > 0; --i) {
    origins.push_back({pick(random, -99, 99), pick(random, -99, 99)});
  }
  const int64_t tile_height = pick(random, 1, 20);
  const int64_t tile_width = pick(random, 0, 1) == 0 ? 32 : pick(random, 1, 40);
  const auto bytes = origins.size() * static_cast<size_t>(tile_height * tile_width * 3);
  std::vector<uint8_t> expected(bytes);
  cpu::gather({values.data(), height, width, width * 3}, origins, tile_height, tile_width,
              expected.data(), 1);
  const OnDevice<uint8_t> input(values, stream);
  const OnDevice<uint8_t> found(bytes, stream);
  gather({input.data(), height, width, width * 3}, origins, tile_height, tile_width, found.data(),
         stream.handle());
  expect(found.read() == expected, "gather", height, width, round);
}

void test_assemble(Random& random, const Stream& stream, int64_t height, int64_t width, int round) {
  const int64_t halo = 2 * pick(random, 0, 4);
  const int64_t largest = 2 * halo + 2 * pick(random, 1, 20);
  std::vector<uint8_t> expected(static_cast<size_t>(height * width * 2), 7);
  const OnDevice<uint8_t> found(expected, stream);
  for (const auto& band : pipeline::plan(height, width, largest, largest, halo, 2)) {
    const size_t bytes = static_cast<size_t>(band.tile_height * band.tile_width * 2);
    std::vector<uint8_t> values(band.targets.size() * bytes);
    for (uint8_t& value : values) value = static_cast<uint8_t>(random());
    std::vector<cpu::Cells> tiles;
    for (size_t i = 0; i < band.targets.size(); ++i) {
      tiles.push_back({values.data() + i * bytes, band.tile_width / 2 * 8});
    }
    const int64_t first = band.kept_begin * width * 2;
    const int64_t rows = band.kept_end - band.kept_begin;
    cpu::assemble(tiles, band.targets, band.cores,
                  {expected.data() + first, rows, width, width * 2}, 1);
    const OnDevice<uint8_t> input(values, stream);
    assemble({input.data(), band.tile_height / 2, band.tile_width / 2}, band.targets, band.cores,
             {found.data() + first, rows, width, width * 2}, stream.handle());
    stream.synchronize();
  }
  expect(found.read() == expected, "assemble", height, width, round);
}

// Adds the same layers to the CPU's network and to the device's.
class Networks {
 public:
  explicit Networks(Random& random) : random_(random) {}

  int stem(int64_t outputs, int side) {
    const auto weights = draw(outputs * 3 * side * side);
    const cpu::Kernel kernel = {weights.data(), 3, outputs, side};
    const cpu::Rounding rule = rounding(outputs, 3);
    expected.stem(kernel, rule);
    return found.stem(kernel, rule);
  }

  int convolution(const std::vector<int>& sources, int64_t inputs, int64_t outputs) {
    std::vector<std::vector<int8_t>> weights;
    std::vector<cpu::Kernel> kernels;
    for (size_t i = 0; i < sources.size(); ++i) weights.push_back(draw(outputs * inputs * 9));
    for (const auto& one : weights) kernels.push_back({one.data(), inputs, outputs, 3});
    const cpu::Rounding rule = rounding(outputs, inputs);
    expected.convolution(sources, kernels, rule);
    return found.convolution(sources, kernels, rule);
  }

  int grow(int source, int64_t inputs, int64_t outputs) {
    const auto weights = draw(outputs * inputs * 4);
    const cpu::Kernel kernel = {weights.data(), inputs, outputs, 2};
    const cpu::Rounding rule = rounding(outputs, inputs);
    expected.grow(source, kernel, rule);
    return found.grow(source, kernel, rule);
  }

  int pool(int source) {
    expected.pool(source);
    return found.pool(source);
  }

  void cells(int source, int64_t inputs) {
    const auto weights = draw(8 * inputs * 9);
    const cpu::Kernel kernel = {weights.data(), inputs, 8, 3};
    const cpu::Rounding rule = rounding(8, inputs);
    expected.cells(source, kernel, rule);
    found.cells(source, kernel, rule);
  }

 private:
  std::vector<int8_t> draw(int64_t count) {
    std::vector<int8_t> values(static_cast<size_t>(count));
    for (int8_t& value : values) value = static_cast<int8_t>(pick(random_, -127, 127));
    return values;
  }

  cpu::Rounding rounding(int64_t outputs, int64_t inputs) {
    cpu::Rounding rule;
    const auto scale = static_cast<float>(1 / (60 * std::sqrt(9.0 * static_cast<double>(inputs))));
    for (int64_t i = 0; i < outputs; ++i) {
      rule.factors.push_back(scale * static_cast<float>(pick(random_, 3, 15)) / 10);
      rule.offsets.push_back(static_cast<float>(pick(random_, -40, 60)));
    }
    return rule;
  }

  Random& random_;

 public:
  cpu::Network expected;
  Network found;
};

void test_network(Random& random, const Stream& stream, int round) {
  Networks both(random);
  const int64_t width = round % 4 < 2 ? 16 : 32;
  const int first = both.convolution({both.stem(width, round % 3 == 0 ? 6 : 3)}, width, width);
  const int below = both.convolution({both.pool(first)}, width, 32);
  const int last = both.convolution({first, both.grow(below, 32, width)}, width, width);
  both.cells(last, width);
  const int64_t count = pick(random, 1, 2);
  const int64_t rows = 4 * pick(random, 1, 6);
  const int64_t columns = 4 * pick(random, 1, 40);
  std::vector<uint8_t> tiles(static_cast<size_t>(count * rows * columns * 3));
  for (uint8_t& value : tiles) value = static_cast<uint8_t>(random());
  std::vector<uint8_t> expected(static_cast<size_t>(count * rows * columns * 2));
  both.expected.run(tiles.data(), count, rows, columns, expected.data(), 1);
  const OnDevice<uint8_t> input(tiles, stream);
  const OnDevice<uint8_t> found(expected.size(), stream);
  const DeviceMemory workspace(both.found.workspace(count, rows, columns));
  both.found.run(input.data(), count, rows, columns, found.data(), workspace.data(),
                 stream.handle());
  expect(found.read() == expected, "network", rows, columns, round);
}

// What a pipeline makes of an image at a scale.
template <class Pipeline>
std::vector<uint8_t> outputs_of(Pipeline& pipeline, const std::vector<uint8_t>& image,
                                int64_t height, int64_t width, double scale) {
  const auto pixels = static_cast<size_t>(height * width);
  std::vector<uint8_t> all(7 * pixels);
  std::vector<int32_t> labels(pixels);
  const ImageView view = view_of(image.data(), ValueType::kUint8, height, width, 3, 1);
  pipeline.run(view, scale, std::nullopt, {all.data(), labels.data(), all.data() + pixels});
  std::memcpy(all.data() + 3 * pixels, labels.data(), pixels * sizeof(int32_t));
  return all;
}

// Images of several threads at once: the third of a shape and later ones are done by graphs.
void test_pipeline(Random& random, int round) {
  constexpr int kThreads = 2;
  constexpr int kTurns = 4;
  Networks both(random);
  const int first = both.stem(16, 3);
  const int last = both.convolution({first, both.grow(both.pool(first), 16, 16)}, 16, 16);
  both.cells(last, 16);
  const Engine engine = [&](const Tiles& tiles, cudaStream_t stream, const Allocate& allocate) {
    void* const memory = allocate(both.found.workspace(tiles.count, tiles.height, tiles.width));
    both.found.run(tiles.data, tiles.count, tiles.height, tiles.width, tiles.cells, memory, stream);
  };
  const auto warn = [](const std::string& words) { std::printf("%s\n", words.c_str()); };
  const pipeline::Settings settings = {4, 4, pick(random, 3, 12) * 4, 2, 1, 99, {90, 120, 9, 3, 0}};
  pipeline::Pipeline<CudaDevice> found(std::make_shared<CudaDevice>(engine, 2, 1 << 20, warn),
                                       settings);
  const std::shared_ptr<const cpu::Network> borrowed(&both.expected, [](const cpu::Network*) {});
  pipeline::CpuPipeline expected(std::make_shared<pipeline::CpuDevice>(borrowed, 1), settings);
  const int64_t height = pick(random, 1, 40);
  const int64_t width = pick(random, 1, 40);
  std::vector<std::thread> threads;
  std::vector<char> equal(kThreads, 1);
  std::vector<std::vector<uint8_t>> images;
  for (int i = 0; i < kThreads; ++i) {
    images.emplace_back(static_cast<size_t>(height * width * 3));
    for (uint8_t& value : images.back()) value = static_cast<uint8_t>(random());
  }
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (const double scale : {1.0, 1.6, 0.7}) {
        const auto wanted = outputs_of(expected, images[i], height, width, scale);
        for (int turn = 0; turn < kTurns; ++turn) {
          equal[i] &= outputs_of(found, images[i], height, width, scale) == wanted;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const char same : equal) expect(same != 0, "pipeline", height, width, round);
}

void test_all(Random& random, int round, int64_t most) {
  const Stream stream;
  const int64_t height = pick(random, 1, round % 2 == 0 ? 12 : most);
  const int64_t width = pick(random, 1, round % 3 == 0 ? 12 : most);
  emulation::set_seed(random());
  test_mask(random, stream, height, width, round);
  test_label(random, stream, height, width, round);
  test_normalize<int16_t>(random, stream, ValueType::kInt16, height, width, round);
  test_normalize<float>(random, stream, ValueType::kFloat32, height, width, round);
  test_normalize<double>(random, stream, ValueType::kFloat64, height, width, round);
  test_gather(random, stream, height, width, round);
  test_assemble(random, stream, height, width, round);
  test_network(random, stream, round);
  test_pipeline(random, round);
}

// What no kernel here may do: all threads write one cell.
void race_on_purpose(int32_t* cell) { *cell = static_cast<int32_t>(threadIdx.x); }

void plant_race() {
  const Stream stream;
  const OnDevice<int32_t> cell(1, stream);
  launch(race_on_purpose, 1, 64, stream.handle(), cell.data());
  stream.synchronize();
}

bool everything_is_given_back() {
  const emulation::Usage left = emulation::usage();
  return left.device_bytes == 0 && left.pinned_bytes == 0 && left.streams == 0 &&
         left.events == 0 && left.graphs == 0;
}

}  // namespace
}  // namespace nucleiseg::emulated

// Arguments: how many rounds, and the longest side of an image; or "race", to see whether the race
// detector sees one.
int main(int count, char** arguments) {
  using namespace nucleiseg::emulated;
  if (count > 1 && std::string(arguments[1]) == "race") {
    plant_race();
    return 0;
  }
  const int rounds = count > 1 ? std::stoi(arguments[1]) : 100;
  const int64_t most = count > 2 ? std::stoi(arguments[2]) : 40;
  Random random(20240229);
  test_label_rounds();
  for (int round = 0; round < rounds; ++round) test_all(random, round, most);
  if (!everything_is_given_back()) {
    std::printf("something was not given back\n");
    ++failures;
  }
  std::printf("%d rounds, %d failures\n", rounds, failures);
  return failures == 0 ? 0 : 1;
}
