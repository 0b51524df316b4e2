#include "cuda/network_layer.h"
#include "cuda/stream.h"
#include "kernels/tiles.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

constexpr int kParts = 4;  // threads that share a row of sums

// The output that a row of a block's weights is for: a thread's two columns of each tile are
// neighbours in the order of the tiles.
int64_t output_of(int row, int tiles) {
  const int tile = row / kTile;
  const int part = row % kTile / (kTile / kParts);
  return part * 2 * tiles + 2 * tile + row % 2;
}

// Adds the four weights of a word of a row of the image's pixels, zeros past the last.
void add_word(const Kernel& kernel, int64_t output, int row, int word,
              std::vector<int8_t>& weights) {
  for (int byte = 4 * word; byte < 4 * word + 4; ++byte) {
    const int column = byte / kernels::kImageChannels;
    const bool real = row < kernel.side && column < kernel.side;
    weights.push_back(
        real ? weight_of(kernel, output, byte % kernels::kImageChannels, row * kernel.side + column)
             : int8_t{0});
  }
}

}  // namespace

Constants::Constants(const void* values, size_t bytes)
    : memory_(std::make_shared<DeviceMemory>(bytes)) {
  const Stream stream;
  copy(memory_->data(), values, bytes, stream.handle());
  stream.synchronize();
}

std::vector<int8_t> packed(const Form& form, int sources, int64_t channels, int64_t outputs,
                           const Weight& weight) {
  std::vector<int8_t> found;
  const int64_t chunk = int64_t{kUnit} * form.slices;
  const int block = kTile * form.tiles;
  for (int64_t first = 0; first < outputs; first += block) {
    for (int64_t of_all = 0; of_all < sources * channels; of_all += chunk) {
      const auto source = static_cast<int>(of_all / channels);
      for (int slice = 0; slice < padded_slices(form); ++slice) {
        const int tap = slice / form.slices;
        const int64_t channel = of_all % channels + slice % form.slices * kUnit;
        for (int row = 0; row < block; ++row) {
          const int64_t output = first + output_of(row, form.tiles);
          for (int i = 0; i < kUnit; ++i) {
            found.push_back(tap < form.taps ? weight(source, tap, channel + i, output) : int8_t{0});
          }
        }
      }
    }
  }
  return found;
}

std::vector<int8_t> packed_stem(const Kernel& kernel) {
  std::vector<int8_t> found;
  const int tiles = stem_tiles(kernel.outputs);
  for (int64_t first = 0; first < kernel.outputs; first += int64_t{kTile} * tiles) {
    for (int slice = 0; slice < stem_slices(kernel.side); ++slice) {
      for (int row = 0; row < kTile * tiles; ++row) {
        for (int word = 4 * slice; word < 4 * slice + 4; ++word) {
          add_word(kernel, first + output_of(row, tiles), word / stem_words(kernel.side),
                   word % stem_words(kernel.side), found);
        }
      }
    }
  }
  return found;
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
