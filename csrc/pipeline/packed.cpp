#include "pipeline/packed.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

#include "network/layers.h"

namespace nucleiseg::pipeline {
namespace {

constexpr char kMagic[] = "NUCLEI03";

enum Record : int32_t { kStem = 1, kConvolution, kGrow, kPool, kCells, kSettings };

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error("model: the file " + what);
}

class Reader {
 public:
  explicit Reader(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("model: " + path + " cannot be read");
    content_.assign(std::istreambuf_iterator<char>(file), {});
    if (content_.size() < 8 || std::memcmp(content_.data(), kMagic, 8) != 0) {
      throw std::runtime_error("model: " + path + " is no packed model");
    }
  }

  bool at_end() const { return at_ == content_.size(); }

  template <class T>
  std::vector<T> values(int64_t count) {
    const size_t left = content_.size() - at_;
    if (count < 0 || static_cast<uint64_t>(count) > left / sizeof(T)) fail("is cut off");
    std::vector<T> found(static_cast<size_t>(count));
    std::memcpy(found.data(), content_.data() + at_, found.size() * sizeof(T));
    at_ += found.size() * sizeof(T);
    return found;
  }

  int32_t number() { return values<int32_t>(1)[0]; }

  int32_t number(int32_t least, int32_t most) {
    const int32_t found = number();
    if (found < least || found > most) fail("has a number out of its range");
    return found;
  }

 private:
  std::vector<char> content_;
  size_t at_ = 8;
};

void add_layer(Reader& file, int32_t record, cpu::Network& network) {
  if (record == kPool) {
    network.pool(file.number());
    return;
  }
  std::vector<int> sources;
  if (record != kStem) {
    const auto found = file.values<int32_t>(file.number(1, network::kMostSources));
    sources.assign(found.begin(), found.end());
  }
  const int64_t inputs = file.number(1, network::kMostChannels);
  const int64_t outputs = file.number(1, network::kMostChannels);
  const int side = file.number(network::kGrowth, 2 * network::kSide);
  const int expected = record == kGrow ? network::kGrowth : network::kSide;
  if (side != expected && !(record == kStem && side == 2 * network::kSide)) {
    fail("has a kernel of another size");
  }
  std::vector<std::vector<int8_t>> weights;
  std::vector<network::Kernel> kernels;
  for (size_t i = 0; i < sources.size() || i == 0; ++i) {
    weights.push_back(file.values<int8_t>(inputs * outputs * side * side));
    kernels.push_back({weights.back().data(), inputs, outputs, side});
  }
  network::Rounding rounding;
  rounding.factors = file.values<float>(outputs);
  rounding.offsets = file.values<float>(outputs);
  if (record == kStem) network.stem(kernels[0], rounding);
  if (record == kConvolution) network.convolution(sources, kernels, rounding);
  if (record == kGrow) network.grow(sources[0], kernels[0], rounding);
  if (record == kCells) network.cells(sources[0], kernels[0], rounding);
}

void read_merging(Reader& file, kernels::MergeRule& rule) {
  const auto weights = [&](int32_t* to, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      to[i] = file.number(-kernels::kMostMergeWeight, kernels::kMostMergeWeight);
    }
  };
  rule = {file.number(0, 255), 1, {}, {}};
  if (rule.prominence == 0) return;
  weights(rule.units[0], sizeof rule.units / sizeof(int32_t));
  weights(rule.output, sizeof rule.output / sizeof(int32_t));
}

void read_settings(Reader& file, PackedModel& model) {
  Settings& settings = model.settings;
  settings.stride = file.number(1, 1024);
  settings.halo = file.number(0, 4096);
  if (settings.halo % settings.stride != 0) fail("has a halo that is no multiple of its stride");
  const auto byte = [&] { return static_cast<uint8_t>(file.number(0, 255)); };
  settings.rule.nucleus_threshold = byte();
  settings.rule.marker_threshold = byte();
  settings.rule.prominence = byte();
  settings.rule.min_area = file.number(0, INT32_MAX);
  settings.rule.min_peak = byte();
  settings.rule.min_probability = byte();
  read_merging(file, settings.rule.merge);
  const std::vector<double> found = file.values<double>(3);
  settings.low = found[0];
  settings.high = found[1];
  model.micrometres_a_pixel = found[2];
  if (!(0 <= found[0] && found[0] <= found[1] && found[1] <= 100 && found[2] > 0)) {
    fail("has percentiles or a pixel size out of their range");
  }
}

}  // namespace

PackedModel read_packed(const std::string& path, const std::string& level) {
  Reader file(path);
  PackedModel model = {std::make_shared<cpu::Network>(level), {}, 0};
  try {
    while (!file.at_end()) {
      const int32_t record = file.number(kStem, kSettings);
      if (record == kSettings) {
        read_settings(file, model);
      } else {
        add_layer(file, record, *model.network);
      }
    }
  } catch (const std::invalid_argument& error) {
    fail(std::string("holds another network (") + error.what() + ")");
  }
  if (!model.network->is_complete() || model.micrometres_a_pixel == 0) fail("is cut off");
  if (model.settings.stride % model.network->stride() != 0) fail("has a wrong stride");
  return model;
}

}  // namespace nucleiseg::pipeline
