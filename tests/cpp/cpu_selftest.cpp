// Every operation on random images, with each instruction set that this CPU has, against the plain
// definition. Prints what differs and ends with 1 if anything does.
//
// Prints a digest of all results for each instruction set, too: the images are the same on every
// machine, so the digests must be.
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/label/label.h"
#include "cpu/network/network.h"
#include "cpu/normalize/normalize.h"
#include "cpu/simd/rows.h"
#include "cpu/tiles/tiles.h"
#include "random_rule.h"
#include "reference.h"

namespace nucleiseg::cpu {
namespace {

using reference::Bytes;
using reference::Size;

// The standard's distributions differ from one library to the next. This generator is splitmix64
// (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195).
class Random {
 public:
  uint64_t next() {
    uint64_t mixed = state_ += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
  }

  int64_t pick(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(next() % static_cast<uint64_t>(high - low + 1));
  }

  Bytes bytes(int64_t count) {
    Bytes values(static_cast<size_t>(count));
    for (uint8_t& value : values) value = static_cast<uint8_t>(next());
    return values;
  }

 private:
  uint64_t state_ = 20240229;
};

template <class T>
Bytes bytes_of(const std::vector<T>& values) {
  Bytes bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// What was found, operation by operation: FNV-1a (Fowler, Noll and Vo).
class Results {
 public:
  template <class T>
  void add(const std::string& operation, const std::vector<T>& found,
           const std::vector<T>& expected) {
    const Bytes bytes = bytes_of(found);
    compare(operation, bytes, bytes_of(expected), rows().level);
    uint64_t& digest = digests_.try_emplace(operation, 0xcbf29ce484222325u).first->second;
    for (const uint8_t byte : bytes) digest = (digest ^ byte) * 0x100000001b3u;
  }

  // What not every machine computes is in no digest.
  void compare(const std::string& operation, const Bytes& found, const Bytes& expected,
               const char* level) {
    if (found == expected) return;
    ++failures_;
    std::printf("%s differs with %s\n", operation.c_str(), level);
  }

  int failures() const { return failures_; }

  void print() const {
    std::printf("%s", rows().level);
    for (const auto& [operation, digest] : digests_) {
      std::printf(" %s=%016llx", operation.c_str(), static_cast<unsigned long long>(digest));
    }
    std::printf("\n");
  }

 private:
  int failures_ = 0;
  std::map<std::string, uint64_t> digests_;
};

template <class T>
ImageView view_of(const std::vector<T>& values, ValueType type, Size size, int64_t channels) {
  const auto bytes = static_cast<std::ptrdiff_t>(sizeof(T));
  return {reinterpret_cast<const std::byte*>(values.data()),
          type,
          size.height,
          size.width,
          channels,
          size.width * channels * bytes,
          channels * bytes,
          bytes};
}

// Integers of any value; floats of all magnitudes that single precision has, or of usual ones.
template <class T>
std::vector<T> random_values(Random& random, int64_t count) {
  const bool usual = random.pick(0, 1) == 0;
  std::vector<T> values;
  while (static_cast<int64_t>(values.size()) < count) {
    const auto bits = static_cast<uint32_t>(random.next());
    if constexpr (std::is_integral_v<T>) {
      values.push_back(static_cast<T>(bits));
    } else if (usual) {
      values.push_back(static_cast<T>(static_cast<int32_t>(bits)) / T{40000});
    } else {
      float value;
      std::memcpy(&value, &bits, sizeof value);
      // Not representable in single precision, where T has room for that.
      if (std::isfinite(value)) values.push_back(static_cast<T>(value) * (T{1} - T{1} / (1 << 30)));
    }
  }
  return values;
}

template <class T>
void test_normalize(Random& random, Results& results, ValueType type, Size size, int threads) {
  const int64_t channels = random.pick(0, 1) * 2 + 1;
  std::vector<T> values = random_values<T>(random, size.height * size.width * channels);
  const ImageView image = view_of(values, type, size, channels);
  const double low = static_cast<double>(random.pick(0, 50));
  const double high = static_cast<double>(random.pick(50, 100));
  const Limits limits = cpu::limits(image, low, high, threads);
  const Limits expected_limits = reference::limits(image, values, low, high);
  const auto count_above = [&](double ceiling) {
    const auto above = [&](T value) { return static_cast<float>(value) > ceiling; };
    return static_cast<double>(std::count_if(values.begin(), values.end(), above));
  };
  results.add<double>("limits",
                      {limits.low, limits.high, count_above(limits.ceiling), limits.apart},
                      {expected_limits.low, expected_limits.high,
                       count_above(expected_limits.ceiling), expected_limits.apart});
  if constexpr (std::is_floating_point_v<T>) {
    const auto last = static_cast<int64_t>(values.size()) - 1;
    values[static_cast<size_t>(random.pick(0, last))] = std::numeric_limits<T>::quiet_NaN();
    values[static_cast<size_t>(random.pick(0, last))] = std::numeric_limits<T>::infinity();
    values[static_cast<size_t>(random.pick(0, last))] = -std::numeric_limits<T>::infinity();
  }
  const auto first = static_cast<float>(limits.low);
  const auto second = static_cast<float>(limits.high);
  const auto ceiling = static_cast<float>(limits.ceiling);
  Bytes found(static_cast<size_t>(size.height * size.width * 3));
  normalize(image, first, second, ceiling, found.data(), threads);
  const Bytes once = reference::normalize(values, first, second, ceiling);
  Bytes expected;
  for (size_t i = 0; i < found.size(); ++i) expected.push_back(once[channels == 1 ? i / 3 : i]);
  results.add("normalize", found, expected);
}

void test_gather(Random& random, Results& results, Size size, int threads) {
  const Bytes image = random.bytes(size.height * size.width * 3);
  const Size tile = {random.pick(1, 40), random.pick(1, 80)};
  std::vector<Point> origins;
  Bytes expected;
  for (int64_t i = random.pick(0, 5); i > 0; --i) {
    origins.push_back({random.pick(-99, 99), random.pick(-99, 99)});
    const Bytes one = reference::gather(image, size, origins.back(), tile);
    expected.insert(expected.end(), one.begin(), one.end());
  }
  Bytes found(expected.size());
  gather({image.data(), size.height, size.width, size.width * 3}, origins, tile.height, tile.width,
         found.data(), threads);
  results.add("gather", found, expected);
}

// A part of a tile that begins at `origin`, and of the image.
std::pair<int64_t, int64_t> random_span(Random& random, int64_t origin, int64_t tile,
                                        int64_t size) {
  const int64_t least = std::max<int64_t>(0, origin);
  const int64_t most = std::min(size, origin + tile);
  const int64_t begin = random.pick(least, most);
  return {begin, random.pick(begin, most)};
}

void test_assemble(Random& random, Results& results, Size size, int threads) {
  const int64_t tile = 2 * random.pick(1, 40);
  const auto number = static_cast<size_t>(random.pick(1, 9));
  std::vector<Bytes> values(number);
  std::vector<Cells> tiles;
  std::vector<Point> origins;
  std::vector<Rectangle> cores;
  Bytes found(static_cast<size_t>(size.height * size.width * 2), 7);
  Bytes expected = found;
  for (Bytes& cells : values) {
    cells = random.bytes(tile * tile * 2);
    const Point origin = {random.pick(1 - tile, size.height - 1),
                          random.pick(1 - tile, size.width - 1)};
    const auto rows = random_span(random, origin.row, tile, size.height);
    const auto columns = random_span(random, origin.column, tile, size.width);
    tiles.push_back({cells.data(), tile / kCellSide * kCellBytes});
    origins.push_back(origin);
    cores.push_back({rows.first, rows.second, columns.first, columns.second});
    reference::assemble(cells, tile, origin, cores.back(), size, expected);
  }
  assemble(tiles, origins, cores, {found.data(), size.height, size.width, size.width * 2}, threads);
  results.add("assemble", found, expected);
}

// Maps in which neighbours are alike, with plateaus, cores of all sizes and rims without one.
Bytes random_maps(Random& random, Size size) {
  const int64_t block = random.pick(1, 6);
  const int64_t levels = random.pick(2, 40);
  const int64_t across = size.width / block + 1;
  Bytes coarse(static_cast<size_t>((size.height / block + 1) * across * 2));
  for (uint8_t& value : coarse) {
    value = static_cast<uint8_t>(random.pick(0, levels - 1) * 255 / (levels - 1));
  }
  Bytes maps;
  for (int64_t i = 0; i < size.height * size.width * 2; ++i) {
    const int64_t row = i / 2 / size.width / block;
    const int64_t column = i / 2 % size.width / block;
    maps.push_back(coarse[static_cast<size_t>(2 * (row * across + column) + i % 2)]);
  }
  return maps;
}

void test_maps(Random& random, Results& results, Size size, int threads) {
  const Bytes maps = random_maps(random, size);
  const ImageView view = view_of(maps, ValueType::kUint8, size, 2);
  const auto threshold = static_cast<uint8_t>(random.pick(0, 255));
  Bytes is_nucleus(maps.size() / 2);
  mask(view, threshold, is_nucleus.data(), size.width, threads);
  results.add("mask", is_nucleus, reference::mask(maps, threshold));
  const LabelRule rule =
      random_rule([&](int64_t low, int64_t high) { return random.pick(low, high); });
  std::vector<int32_t> labels(maps.size() / 2);
  const int32_t count = label(view, rule, labels.data(), threads);
  reference::Labels expected = reference::label(maps, size, rule);
  labels.push_back(count);
  expected.ids.push_back(expected.count);
  results.add("label", labels, expected.ids);
}

// Weights and rounding that spread a layer's sums over the levels.
struct RandomLayer {
  RandomLayer(Random& random, int64_t to, int64_t from, int size)
      : weights(random.bytes(to * from * size * size)), inputs(from), outputs(to), side(size) {
    for (uint8_t& weight : weights) weight = weight == 128 ? uint8_t{0} : weight;
    for (int64_t i = 0; i < to; ++i) {
      rounding.factors.push_back(static_cast<float>(random.pick(1, 9)) / 30000.0f);
      rounding.offsets.push_back(static_cast<float>(random.pick(-30, 60)));
    }
  }

  Kernel kernel() const {
    return {reinterpret_cast<const int8_t*>(weights.data()), inputs, outputs, side};
  }

  Bytes weights;
  int64_t inputs;
  int64_t outputs;
  int side;
  Rounding rounding;
};

// A small U-Net with every kind of layer.
class RandomNetwork {
 public:
  explicit RandomNetwork(Random& random)
      // In braces, so that the numbers are drawn in this order.
      : RandomNetwork{random, 8 * random.pick(1, 9), 8 * random.pick(1, 9),
                      random.pick(0, 1) == 0 ? 3 : 6} {}

  Bytes run(const std::string& level, const Bytes& tiles, Size size, int threads) const {
    Network network(level);
    const int stem = network.stem(stem_.kernel(), stem_.rounding);
    const int down = network.convolution({network.pool(stem)}, {down_.kernel()}, down_.rounding);
    const int grown = network.grow(down, grow_.kernel(), grow_.rounding);
    const int up =
        network.convolution({stem, grown}, {skip_.kernel(), grown_.kernel()}, skip_.rounding);
    network.cells(up, cells_.kernel(), cells_.rounding);
    const auto count = static_cast<int64_t>(tiles.size()) / (size.height * size.width * 3);
    Bytes cells(static_cast<size_t>(count * size.height * size.width * 2));
    network.run(tiles.data(), count, size.height, size.width, cells.data(), threads);
    return cells;
  }

 private:
  RandomNetwork(Random& random, int64_t width, int64_t below, int stem_side)
      : stem_(random, width, 3, stem_side),
        down_(random, below, width, 3),
        grow_(random, width, below, 2),
        skip_(random, width, width, 3),
        grown_(random, width, width, 3),
        cells_(random, kCellBytes, width, 3) {}

  RandomLayer stem_, down_, grow_, skip_, grown_, cells_;
};

void test_network(Random& random, Results& results, int threads) {
  const Size size = {4 * random.pick(1, 9), 4 * random.pick(1, 20)};
  const Bytes tiles = random.bytes(random.pick(1, 2) * size.height * size.width * 3);
  const RandomNetwork network(random);
  const Bytes expected = network.run("portable", tiles, size, 1);
  results.add("network", network.run("portable", tiles, size, threads), expected);
  for (const Convolution* one : convolutions()) {
    results.compare("network", network.run(one->level, tiles, size, threads), expected, one->level);
  }
}

// Some images are small; some are large enough that threads share them.
Size random_size(Random& random, int round) {
  if (round % 10 == 9) return {random.pick(200, 400), random.pick(500, 700)};
  return {random.pick(1, round % 2 == 0 ? 12 : 90), random.pick(1, round % 3 == 0 ? 12 : 150)};
}

int test_level(const std::string& level, int rounds) {
  set_level(level);
  Random random;
  Results results;
  for (int round = 0; round < rounds; ++round) {
    const Size size = random_size(random, round);
    const int threads = static_cast<int>(random.pick(1, 4));
    test_normalize<uint8_t>(random, results, ValueType::kUint8, size, threads);
    test_normalize<uint16_t>(random, results, ValueType::kUint16, size, threads);
    test_normalize<int16_t>(random, results, ValueType::kInt16, size, threads);
    test_normalize<float>(random, results, ValueType::kFloat32, size, threads);
    test_normalize<double>(random, results, ValueType::kFloat64, size, threads);
    test_gather(random, results, size, threads);
    test_assemble(random, results, size, threads);
    test_maps(random, results, size, threads);
    test_network(random, results, threads);
  }
  results.print();
  return results.failures();
}

}  // namespace
}  // namespace nucleiseg::cpu

// Argument: how many rounds.
int main(int count, char** arguments) {
  const int rounds = count > 1 ? std::stoi(arguments[1]) : 40;
  int failures = 0;
  std::printf("convolutions:");
  for (const auto* one : nucleiseg::cpu::convolutions()) std::printf(" %s", one->level);
  std::printf("\n");
  for (const std::string& level : nucleiseg::cpu::levels()) {
    failures += nucleiseg::cpu::test_level(level, rounds);
  }
  std::printf("%d rounds, %d failures\n", rounds, failures);
  return failures == 0 ? 0 : 1;
}
