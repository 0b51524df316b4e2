// What the network and the labels give for tiles of a file, as digests: one line for each level of
// the convolution that this processor has. For processors that are emulated, where Python is not.
//
// Arguments: a packed model (csrc/pipeline/packed.h), a file of tiles, and then levels; all when
// none is named. A tile is its height and width, 32-bit numbers, and its pixels.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/label/label.h"
#include "cpu/simd/convolve.h"
#include "cpu/tiles/tiles.h"
#include "pipeline/flow.h"
#include "pipeline/packed.h"

namespace nucleiseg::cpu {
namespace {

struct Tile {
  int64_t height, width;
  std::vector<uint8_t> pixels;
};

std::vector<Tile> tiles_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<Tile> tiles;
  int32_t sides[2];
  while (file.read(reinterpret_cast<char*>(sides), sizeof sides)) {
    tiles.push_back({sides[0], sides[1], {}});
    tiles.back().pixels.resize(static_cast<size_t>(sides[0] * sides[1] * kImageChannels));
    file.read(reinterpret_cast<char*>(tiles.back().pixels.data()),
              static_cast<std::streamsize>(tiles.back().pixels.size()));
  }
  if (tiles.empty()) throw std::runtime_error("no tile in " + path);
  return tiles;
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

void print_digests(const std::string& model, const std::vector<Tile>& tiles, const char* level,
                   int threads) {
  const pipeline::PackedModel packed = pipeline::read_packed(model, level);
  Digest all_maps;
  Digest all_labels;
  for (const Tile& tile : tiles) {
    const auto pixels = static_cast<size_t>(tile.height * tile.width);
    std::vector<uint8_t> cells(2 * pixels);
    packed.network->run(tile.pixels.data(), 1, tile.height, tile.width, cells.data(), threads);
    std::vector<uint8_t> maps(2 * pixels);
    assemble({{cells.data(), tile.width / kCellSide * kCellBytes}}, {{0, 0}},
             {{0, tile.height, 0, tile.width}},
             {maps.data(), tile.height, tile.width, kMapChannels * tile.width}, threads);
    std::vector<int32_t> labels(pixels);
    const ImageView view = pipeline::maps_view(maps.data(), {tile.height, tile.width});
    label(view, packed.settings.rule, labels.data(), threads);
    all_maps.add(maps);
    all_labels.add(labels);
  }
  std::printf("%s %d maps=%016llx labels=%016llx\n", level, threads, all_maps.value(),
              all_labels.value());
}

}  // namespace
}  // namespace nucleiseg::cpu

int main(int count, char** arguments) {
  if (count < 3) return 2;
  const auto tiles = nucleiseg::cpu::tiles_of(arguments[2]);
  std::vector<std::string> levels(arguments + 3, arguments + count);
  if (levels.empty()) {
    for (const auto* one : nucleiseg::cpu::convolutions()) levels.emplace_back(one->level);
  }
  for (const std::string& level : levels) {
    for (const int threads : {1, 3}) {
      nucleiseg::cpu::print_digests(arguments[1], tiles, level.c_str(), threads);
    }
  }
  return 0;
}
