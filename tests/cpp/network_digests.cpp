// What the network and the labels give for tiles of a file, as digests: one line for each level of
// the convolution that this processor has. For processors that are emulated, where Python is not.
//
// A file is records of 32-bit numbers and bytes as this machine lays them out, which
// tests/native/network_file.py writes.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/image.h"
#include "cpu/label/label.h"
#include "cpu/network/network.h"
#include "cpu/simd/convolve.h"
#include "cpu/tiles/tiles.h"

namespace nucleiseg::cpu {
namespace {

enum Record { kStem = 1, kConvolution, kGrow, kPool, kCells, kRule, kTile };

class Reader {
 public:
  explicit Reader(const std::string& path) : file_(path, std::ios::binary) {
    if (!file_) throw std::runtime_error("cannot read " + path);
    file_.exceptions(std::ios::failbit);
  }

  bool at_end() { return file_.peek() == std::ifstream::traits_type::eof(); }

  int32_t number() { return values<int32_t>(1)[0]; }

  template <class T>
  std::vector<T> values(int64_t count) {
    std::vector<T> found(static_cast<size_t>(count));
    file_.read(reinterpret_cast<char*>(found.data()),
               count * static_cast<std::streamsize>(sizeof(T)));
    return found;
  }

  Rounding rounding(int64_t outputs) {
    Rounding found;
    found.factors = values<float>(outputs);
    found.offsets = values<float>(outputs);
    return found;
  }

 private:
  std::ifstream file_;
};

struct Weights {
  std::vector<int8_t> values;
  int64_t inputs, outputs;
  int side;

  Weights(Reader& file, int64_t from, int64_t to, int size)
      : values(file.values<int8_t>(from * to * size * size)),
        inputs(from),
        outputs(to),
        side(size) {}
  Kernel kernel() const { return {values.data(), inputs, outputs, side}; }
};

struct Tile {
  int64_t height, width;
  std::vector<uint8_t> pixels;
};

struct Content {
  std::vector<std::function<void(Network&)>> layers;
  LabelRule rule{};
  std::vector<Tile> tiles;
};

std::function<void(Network&)> layer(Reader& file, int32_t record) {
  if (record == kPool) {
    return [source = file.number()](Network& network) { network.pool(source); };
  }
  std::vector<int> sources;
  for (int32_t left = record == kStem ? 0 : file.number(); left > 0; --left) {
    sources.push_back(file.number());
  }
  const int64_t inputs = file.number();
  const int64_t outputs = file.number();
  const int side = file.number();
  std::vector<Weights> weights;
  for (size_t i = 0; i < sources.size() || i == 0; ++i) {
    weights.emplace_back(file, inputs, outputs, side);
  }
  const Rounding rounding = file.rounding(outputs);
  return [record, sources, weights, rounding](Network& network) {
    std::vector<Kernel> kernels;
    for (const Weights& one : weights) kernels.push_back(one.kernel());
    if (record == kStem) network.stem(kernels[0], rounding);
    if (record == kConvolution) network.convolution(sources, kernels, rounding);
    if (record == kGrow) network.grow(sources[0], kernels[0], rounding);
    if (record == kCells) network.cells(sources[0], kernels[0], rounding);
  };
}

Content content_of(const std::string& path) {
  Reader file(path);
  Content content;
  while (!file.at_end()) {
    const int32_t record = file.number();
    if (record == kRule) {
      const std::vector<int32_t> rule = file.values<int32_t>(5);
      content.rule = {static_cast<uint8_t>(rule[0]), static_cast<uint8_t>(rule[1]),
                      static_cast<uint8_t>(rule[2]), rule[3], static_cast<uint8_t>(rule[4])};
    } else if (record == kTile) {
      const int64_t height = file.number();
      const int64_t width = file.number();
      content.tiles.push_back(
          {height, width, file.values<uint8_t>(height * width * kImageChannels)});
    } else {
      content.layers.push_back(layer(file, record));
    }
  }
  return content;
}

class Digest {
 public:
  template <class T>
  void add(const std::vector<T>& values) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
    for (size_t i = 0; i < values.size() * sizeof(T); ++i) {
      value_ = (value_ ^ bytes[i]) * 0x100000001b3u;
    }
  }
  unsigned long long value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325u;
};

void print_digests(const Content& content, const char* level, int threads) {
  Network network(level);
  for (const auto& add : content.layers) add(network);
  Digest all_maps;
  Digest all_labels;
  for (const Tile& tile : content.tiles) {
    const auto pixels = static_cast<size_t>(tile.height * tile.width);
    std::vector<uint8_t> cells(2 * pixels);
    network.run(tile.pixels.data(), 1, tile.height, tile.width, cells.data(), threads);
    std::vector<uint8_t> maps(2 * pixels);
    assemble({{cells.data(), tile.width / kCellSide * kCellBytes}}, {{0, 0}},
             {{0, tile.height, 0, tile.width}},
             {maps.data(), tile.height, tile.width, kMapChannels * tile.width}, threads);
    std::vector<int32_t> labels(pixels);
    const ImageView view = {reinterpret_cast<const std::byte*>(maps.data()),
                            ValueType::kUint8,
                            tile.height,
                            tile.width,
                            kMapChannels,
                            kMapChannels * tile.width,
                            kMapChannels,
                            1};
    label(view, content.rule, labels.data(), threads);
    all_maps.add(maps);
    all_labels.add(labels);
  }
  std::printf("%s %d maps=%016llx labels=%016llx\n", level, threads, all_maps.value(),
              all_labels.value());
}

}  // namespace
}  // namespace nucleiseg::cpu

// Arguments: the file, and then levels; all when none is named.
int main(int count, char** arguments) {
  if (count < 2) return 2;
  const nucleiseg::cpu::Content content = nucleiseg::cpu::content_of(arguments[1]);
  std::vector<std::string> levels(arguments + 2, arguments + count);
  if (levels.empty()) {
    for (const auto* one : nucleiseg::cpu::convolutions()) levels.emplace_back(one->level);
  }
  for (const std::string& level : levels) {
    for (const int threads : {1, 3}) {
      nucleiseg::cpu::print_digests(content, level.c_str(), threads);
    }
  }
  return 0;
}
