#include "cpu/network/network_pass.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/simd/rows.h"
#include "kernels/network.h"
#include "kernels/tiles.h"
#include "network/probability.h"
#include "threads/team.h"

namespace nucleiseg::cpu {
namespace {

using kernels::kLanes;

constexpr int kRows = 3;  // that a convolution sees
constexpr int kMostSegments = kRows * static_cast<int>(network::kMostSources);
constexpr int64_t kStemPixels = 256;  // of the stem's output, for which rows are copied at once
constexpr size_t kSumsBytes = size_t{kPlaces} * kChunk * kLanes * sizeof(uint32_t);
constexpr int64_t kSlack = 16;  // bytes that the last pixel's last step may reach beyond

// Where a line of some slope begins that, rounded down, is on all its probabilities; or kNone.
int32_t begin_of_line(int32_t line, int32_t slope) {
  int32_t least = 0;
  int32_t most = std::numeric_limits<uint16_t>::max();
  for (int32_t i = line == 0 ? kernels::kFirstStep : 0; i < kernels::kLineSteps; ++i) {
    const int32_t logit = line * kernels::kLineSteps + i - kernels::kFirstStep;
    const int32_t begin = (network::rounded_probability(logit) << kernels::kLineBits) - slope * i;
    least = std::max(least, begin);
    most = std::min(most, begin + (1 << kernels::kLineBits) - 1);
  }
  return least <= most ? least : kNone;
}

const kernels::Lines& lines() {
  static const auto fitted = [] {
    kernels::Lines found{};
    for (int32_t line = 0; line < kernels::kLines; ++line) {
      int32_t begin = kNone;
      for (int32_t slope = 0; begin == kNone && slope < 1 << kernels::kLineBits; ++slope) {
        begin = begin_of_line(line, slope);
        found.begins[line] = static_cast<uint16_t>(begin);
        found.slopes[line] = static_cast<uint16_t>(slope);
      }
    }
    return found;
  }();
  return fitted;
}

}  // namespace

// Some of a layer's blocks, and how it rounds; where it reads and writes is still to be said.
RowOfPixels Network::Layer::row(int first_block, int block_count) const {
  const int channel = first_block * kLanes;
  RowOfPixels row = shape;
  row.weights = reinterpret_cast<const int8_t*>(weights.data()) + channel * kernels::kProducts;
  row.blocks = block_count;
  row.begin = begin.data() + channel;
  row.shifted_begin = shifted_begin.data() + channel;
  row.factors = factors.data() + channel;
  row.offsets = offsets.data() + channel;
  return row;
}

void Network::Workspace::plan(const Network& network, int64_t rows, int64_t columns) {
  if (rows == height && columns == width) return;
  height = 0;  // nothing is planned if memory runs out
  places.clear();
  std::vector<size_t> sizes;
  for (const Tensor& tensor : network.tensors()) {
    const int64_t across = columns >> tensor.shrink;
    const int64_t row_stride = (across + 2) * stored(tensor.channels);
    places.push_back({nullptr, row_stride, rows >> tensor.shrink, across});
    sizes.push_back(static_cast<size_t>((places.back().height + 2) * row_stride));
  }
  const Buffers shared = network.share_memory(sizes);
  buffers.clear();
  for (const size_t size : shared.sizes) buffers.emplace_back(size);
  for (size_t id = 0; id < places.size(); ++id) {
    places[id].pixels = buffers[shared.of_tensor[id]].data() + places[id].row_stride +
                        stored(network.tensors()[id].channels);
  }
  height = rows;
  width = columns;
}

void Network::Workspace::make_room(const Network& network, int threads) {
  size_t inputs = 0;
  for (const Layer& layer : network.layers_) {
    if (!layer.has_strips()) continue;
    const auto channels = static_cast<size_t>(layer.shape.column_stride);
    inputs = std::max(inputs, channels * layer.sources.size());
  }
  const size_t size = kSumsBytes + kPlaces * kChunk * inputs * sizeof(int16_t);
  while (inputs > 0 && rooms.size() < static_cast<size_t>(threads)) rooms.emplace_back(size);
}

int64_t Network::Pass::rows(const Layer& layer) const {
  if (layer.kind == Kind::grow || layer.kind == Kind::cells) return place(layer.sources[0]).height;
  return place(layer.target).height;
}

bool Network::Pass::in_strips(const Layer& layer) const {
  return layer.has_strips() && place(layer.target).width >= network_.convolution_->strip_width;
}

int64_t Network::Pass::pieces(const Layer& layer) const {
  return in_strips(layer) ? (rows(layer) + kStrip - 1) / kStrip : rows(layer);
}

int Network::Pass::parts(const Layer& layer, int threads) const {
  if (layer.kind != Kind::convolution) return 1;
  // Enough pieces that threads end together: by rows alone unless there are few. Each part of a
  // strip transforms the inputs anew.
  const int most = std::max(1, layer.shape.blocks / 2);
  if (!in_strips(layer)) return rows(layer) >= 8 * threads ? 1 : most;
  if (threads == 1) return 1;
  const int64_t strips = pieces(layer);
  return static_cast<int>(std::clamp<int64_t>((4 * threads + strips - 1) / strips, 1, most));
}

void Network::Pass::run(int threads) const {
  std::vector<int64_t> counts;
  std::vector<int> shares;
  for (const Layer& layer : network_.layers_) {
    shares.push_back(parts(layer, threads));
    counts.push_back(pieces(layer) * shares.back());
  }
  Stages(counts, threads).run([&](size_t stage, int64_t piece, size_t member) {
    work(network_.layers_[stage], piece / shares[stage], static_cast<int>(piece % shares[stage]),
         shares[stage], member);
  });
}

void Network::Pass::work(const Layer& layer, int64_t row, int part, int count,
                         size_t member) const {
  switch (layer.kind) {
    case Kind::stem:
      stem(layer, row);
      break;
    case Kind::convolution: {
      const int first = part * layer.shape.blocks / count;
      const int blocks = (part + 1) * layer.shape.blocks / count - first;
      if (in_strips(layer)) {
        strip(layer, row * kStrip, first, blocks, member);
      } else {
        convolution(layer, row, first, blocks);
      }
      break;
    }
    case Kind::grow:
      grow(layer, row);
      break;
    case Kind::pool:
      pool(layer, row);
      break;
    case Kind::cells:
      cells(layer, row);
      break;
  }
  if (layer.target == kNone || part != 0) return;
  const int each = layer.kind == Kind::grow ? 2 : in_strips(layer) ? kStrip : 1;
  const int64_t end = std::min(each * (row + 1), place(layer.target).height);
  for (int64_t made = each * row; made < end; ++made) border(layer.target, made);
}

void Network::Pass::stem(const Layer& layer, int64_t row) const {
  const Place& target = place(layer.target);
  RowOfPixels work = layer.row(0, layer.shape.blocks);
  const int before = (work.segment_count - 2) / 2;  // pixels that the image is padded by
  for (int64_t first = 0; first < target.width; first += kStemPixels) {
    // The image has no border, so its rows are copied, with zeros around them.
    uint8_t copies[kMostSegments][kStemPixels * 2 * kernels::kImageChannels + kSlack];
    const uint8_t* segments[kMostSegments];
    const int64_t begin = first * work.column_stride - before * kernels::kImageChannels;
    for (int i = 0; i < work.segment_count; ++i) {
      copy_of_row(2 * row + i - before, begin, copies[i], sizeof(copies[i]));
      segments[i] = copies[i];
    }
    work.segments = segments;
    work.width = static_cast<int>(std::min(kStemPixels, target.width - first));
    work.out = pixels(layer.target, row) + first * work.out_stride;
    network_.convolution_->convolve(work);
  }
}

// Bytes of an image row from `begin` on, which may be before it; zeros where there is no image.
void Network::Pass::copy_of_row(int64_t row, int64_t begin, uint8_t* copy, size_t size) const {
  std::memset(copy, 0, size);
  if (row < 0 || row >= space_.height) return;
  const int64_t row_bytes = space_.width * kernels::kImageChannels;
  const int64_t from = std::max<int64_t>(begin, 0);
  const int64_t to = std::min(begin + static_cast<int64_t>(size), row_bytes);
  std::memcpy(copy + (from - begin), image_ + row * row_bytes + from,
              static_cast<size_t>(to - from));
}

// Four rows in tiles of four columns; what is left over, row by row.
void Network::Pass::strip(const Layer& layer, int64_t row, int first, int blocks,
                          size_t member) const {
  const Place& target = place(layer.target);
  const int64_t height = std::min<int64_t>(kStrip, target.height - row);
  const int64_t tiles = height == kStrip ? target.width / kStrip : 0;
  if (tiles > 0) {
    const uint8_t* rows[network::kMostSources * kPatch];
    uint8_t zeros[network::kMostSources];
    TileStrip work{};
    work.rows = rows;
    work.zeros = zeros;
    work.channels = layer.shape.column_stride;
    for (const int source : layer.sources) {
      zeros[work.sources] = zero_of(network_.tensor(source).is_signed);
      for (int64_t i = 0; i < kPatch; ++i) {
        rows[work.sources * kPatch + i] = pixels(source, row - 1 + i) - work.channels;
      }
      ++work.sources;
    }
    work.tiles = static_cast<int>(tiles);
    const int inputs = work.sources * work.channels;
    work.weights = reinterpret_cast<const int16_t*>(layer.strip_weights.data()) +
                   first * kPlaces * inputs * kLanes;
    work.blocks = blocks;
    work.rounding = layer.row(first, blocks);
    work.rounding.out = pixels(layer.target, row) + first * kLanes;
    work.out_row = target.row_stride;
    uint8_t* room = space_.rooms[member].data();
    work.sums = reinterpret_cast<uint32_t*>(room);
    work.values = reinterpret_cast<int16_t*>(room + kSumsBytes);
    network_.convolution_->convolve_strip(work);
  }
  for (int64_t i = 0; i < height && tiles * kStrip < target.width; ++i) {
    convolution(layer, row + i, first, blocks, tiles * kStrip);
  }
}

void Network::Pass::convolution(const Layer& layer, int64_t row, int first, int blocks,
                                int64_t column) const {
  RowOfPixels work = layer.row(first, blocks);
  const uint8_t* segments[kMostSegments];
  int count = 0;
  for (const int source : layer.sources) {
    for (int64_t i = row - 1; i <= row + 1; ++i) {
      segments[count++] = pixels(source, i) + (column - 1) * work.column_stride;
    }
  }
  work.segments = segments;
  work.width = static_cast<int>(place(layer.target).width - column);
  work.out = pixels(layer.target, row) + column * work.out_stride + first * kLanes;
  network_.convolution_->convolve(work);
}

void Network::Pass::grow(const Layer& layer, int64_t row) const {
  const uint8_t* source = pixels(layer.sources[0], row);
  for (int i = 0; i < layer.shape.segment_count; ++i) {
    RowOfPixels work = layer.row(0, layer.shape.blocks);
    work.segments = &source;
    work.segment_count = 1;
    work.weights += i * work.steps * work.blocks * kWeightBytes;
    work.width = static_cast<int>(place(layer.sources[0]).width);
    work.out = pixels(layer.target, 2 * row + i);
    network_.convolution_->convolve(work);
  }
}

void Network::Pass::pool(const Layer& layer, int64_t row) const {
  const uint8_t* above = pixels(layer.sources[0], 2 * row);
  const uint8_t* below = pixels(layer.sources[0], 2 * row + 1);
  uint8_t* out = pixels(layer.target, row);
  const auto& what = network_.tensor(layer.target);
  cpu::rows().pool(above, below, static_cast<size_t>(place(layer.target).width),
                   static_cast<size_t>(stored(what.channels)), out);
}

void Network::Pass::cells(const Layer& layer, int64_t row) const {
  const Place& source = place(layer.sources[0]);
  RowOfPixels work = layer.row(0, layer.shape.blocks);
  const uint8_t* segments[kRows];
  for (int i = 0; i < kRows; ++i) {
    segments[i] = pixels(layer.sources[0], row - 1 + i) - work.column_stride;
  }
  work.segments = segments;
  work.lines = &lines();
  work.width = static_cast<int>(source.width / 2);
  work.out = cells_ + row * source.width * kernels::kCellBytes;
  network_.convolution_->convolve(work);
}

// Zero beside the row, and above the first or below the last.
void Network::Pass::border(int tensor, int64_t row) const {
  const Place& where = place(tensor);
  const Tensor& what = network_.tensor(tensor);
  const int channels = stored(what.channels);
  const uint8_t zero = zero_of(what.is_signed);
  const auto pixel = static_cast<size_t>(channels);
  uint8_t* first = pixels(tensor, row);
  std::memset(first - channels, zero, pixel);
  std::memset(first + where.width * channels, zero, pixel);
  const auto all = static_cast<size_t>(where.row_stride);
  if (row == 0) std::memset(first - channels - where.row_stride, zero, all);
  if (row == where.height - 1) {
    std::memset(first - channels + where.row_stride, zero, all);
  }
}

}  // namespace nucleiseg::cpu
