// Limits by histogram: csrc/kernels/limits.h defines them. Integers: one bin a value. Floats: the
// order key's high half first, then the low half inside the bins that were found, which is exact.
#include "kernels/limits.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/normalize/normalize.h"
#include "kernels/normalize.h"
#include "threads/parallel.h"

namespace nucleiseg::cpu {
namespace {

constexpr uint32_t kBins8 = 1u << 8;
constexpr uint32_t kBins16 = 1u << 16;
// Neighbouring pixels are often equal. Counting them in different tables spares each increment the
// wait for the store before it.
constexpr size_t kTables8 = 8;
constexpr size_t kTables16 = 2;

using Counts = std::vector<uint64_t>;

// A histogram of one thread: `tables` copies with 32-bit counters, emptied into 64-bit ones before
// they can overflow.
template <size_t tables>
class Histogram {
 public:
  explicit Histogram(uint32_t bins) : bins_(bins), counters_(bins * tables), counts_(bins) {}

  template <class T, class Bin>
  void add(const T* values, size_t count, Bin&& bin) {
    while (count > 0) {
      const size_t step = count < kFlushAfter ? count : static_cast<size_t>(kFlushAfter);
      if (pending_ + step > kFlushAfter) flush();
      add_block(values, step, bin);
      pending_ += step;
      values += step;
      count -= step;
    }
  }

  // For a value at a time.
  void increment(uint32_t bin) {
    if (pending_ == kFlushAfter) flush();
    ++counters_[bin];
    ++pending_;
  }

  Counts take() {
    flush();
    return std::move(counts_);
  }

 private:
  static constexpr uint64_t kFlushAfter = uint64_t{1} << 31;

  template <class T, class Bin>
  void add_block(const T* values, size_t count, Bin& bin) {
    uint32_t* const counters = counters_.data();
    size_t i = 0;
    for (; i + tables <= count; i += tables) {
      T block[tables];
      std::memcpy(block, values + i, sizeof block);
      for (size_t table = 0; table < tables; ++table) ++counters[table * bins_ + bin(block[table])];
    }
    for (; i < count; ++i) ++counters[bin(values[i])];
  }

  void flush() {
    for (size_t table = 0; table < tables; ++table) {
      for (uint32_t bin = 0; bin < bins_; ++bin) counts_[bin] += counters_[table * bins_ + bin];
    }
    std::fill(counters_.begin(), counters_.end(), 0u);
    pending_ = 0;
  }

  const uint32_t bins_;
  std::vector<uint32_t> counters_;
  Counts counts_;
  uint64_t pending_ = 0;
};

// Gives each thread a band of rows and a histogram of its own, and adds the histograms up.
// count(histogram, values, number) puts one row's values in.
template <class T, size_t tables, class Count>
Counts histogram(const ImageView& image, uint32_t bins, int threads, Count&& count) {
  const int64_t grain = rows_per_thread(image.values_per_row());
  const int64_t bands = std::min<int64_t>(threads, (image.height + grain - 1) / grain);
  std::vector<Counts> parts(static_cast<size_t>(bands));
  parallel_for(bands, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t band = begin; band < end; ++band) {
      Histogram<tables> own(bins);
      std::vector<T> scratch;
      const int64_t last = image.height * (band + 1) / bands;
      for (int64_t row = image.height * band / bands; row < last; ++row) {
        count(own, row_values<T>(image, row, scratch), static_cast<size_t>(image.values_per_row()));
      }
      parts[static_cast<size_t>(band)] = own.take();
    }
  });
  for (size_t part = 1; part < parts.size(); ++part) {
    for (uint32_t bin = 0; bin < bins; ++bin) parts[0][bin] += parts[part][bin];
  }
  return std::move(parts[0]);
}

struct Found {
  uint32_t bin;
  uint64_t rank;  // among the values of that bin
};

// From a bin on, where the rank is counted from its beginning.
Found find_bin(const Counts& counts, uint64_t rank, uint32_t bin) {
  while (rank >= counts[bin]) rank -= counts[bin++];
  return {bin, rank};
}

std::string count_text(uint64_t bad, uint64_t all) {
  return bad == all ? "all " + std::to_string(all) + " values are"
                    : std::to_string(bad) + " of " + std::to_string(all) +
                          (bad == 1 ? " values is" : " values are");
}

uint64_t count_not_finite_doubles(const ImageView& image) {
  uint64_t count = 0;
  std::vector<double> scratch;
  for (int64_t row = 0; row < image.height; ++row) {
    const double* values = row_values<double>(image, row, scratch);
    for (int64_t i = 0; i < image.values_per_row(); ++i) count += !kernels::is_finite(values[i]);
  }
  return count;
}

constexpr uint32_t kInfinityBits = 0x7f80;  // the high half of float32's +infinity

uint64_t count_not_finite(const Counts& high_halves) {
  uint64_t count = 0;
  for (uint32_t bits = kInfinityBits; bits < 0x8000; ++bits) {
    count += high_halves[bits ^ 0x8000u] + high_halves[~(bits | 0x8000u) & 0xffffu];
  }
  return count;
}

template <class T>
using Key = std::conditional_t<std::is_floating_point_v<T>, float, T>;

template <class T>
constexpr int kKeyBits = 8 * static_cast<int>(sizeof(Key<T>));

// Histograms have a bin for each key, or for each high half of a key of 32 bits.
template <class T>
constexpr uint32_t kBins = sizeof(T) == 1 ? kBins8 : kBins16;

template <class T>
uint32_t bin_of(T value) {
  const uint32_t key = kernels::order_key(static_cast<Key<T>>(value));
  return std::is_floating_point_v<T> ? key >> 16 : key;
}

// The value of an integer's bin; that which stands for all of a float's.
template <class T>
float value_of(uint32_t bin) {
  if constexpr (std::is_floating_point_v<T>) {
    return kernels::value_of_float_key(bin << 16);
  } else {
    return static_cast<float>(bin) - static_cast<float>(kernels::order_key(T{0}));
  }
}

// Takes the keys apart, a byte at a time.
uint32_t order_statistic(std::vector<uint32_t>& keys, uint64_t rank, int bits) {
  uint32_t found = 0;
  for (int shift = bits - 8; shift >= 0; shift -= 8) {
    uint32_t counts[kBins8] = {};
    for (const uint32_t key : keys) ++counts[key >> shift & 0xffu];
    uint32_t digit = 0;
    while (rank >= counts[digit]) rank -= counts[digit++];
    found = found << 8 | digit;
    if (shift == 0) break;
    const auto is_other = [&](uint32_t key) { return (key >> shift & 0xffu) != digit; };
    keys.erase(std::remove_if(keys.begin(), keys.end(), is_other), keys.end());
  }
  return found;
}

template <class T>
T value_at(const std::byte* address) {
  T value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

// Keys of values on a sparse grid of pixels, and of their differences from pixels beside them.
template <class T>
struct Sample {
  explicit Sample(const ImageView& image);

  std::vector<uint32_t> values;
  std::vector<uint32_t> differences;
  float step = 0.0f;  // the least difference that is not 0
};

template <class T>
uint32_t key_of_difference(float difference) {
  return std::is_floating_point_v<T> ? kernels::order_key(difference)
                                     : static_cast<uint32_t>(difference);
}

template <class T>
float difference_of_key(uint32_t key) {
  return std::is_floating_point_v<T> ? kernels::value_of_float_key(key) : static_cast<float>(key);
}

template <class T>
Sample<T>::Sample(const ImageView& image) {
  const kernels::SampleAxis rows = kernels::sample_axis(image.height);
  const kernels::SampleAxis columns = kernels::sample_axis(image.width);
  const int64_t pairs = kernels::sample_pairs(columns, image.width);
  const std::ptrdiff_t lag = kernels::sample_lag(image.width) * image.column_stride;
  const auto most = static_cast<size_t>(rows.count * columns.count * image.channels);
  values.reserve(most);
  differences.reserve(most);
  for (int64_t row = 0; row < rows.count; ++row) {
    const std::byte* source = image.data + (rows.first + row * rows.step) * image.row_stride;
    for (int64_t column = 0; column < columns.count; ++column) {
      const std::byte* pixel =
          source + (columns.first + column * columns.step) * image.column_stride;
      for (int64_t channel = 0; channel < image.channels; ++channel) {
        const auto value = value_at<T>(pixel + channel * image.channel_stride);
        values.push_back(kernels::order_key(static_cast<Key<T>>(value)));
        if (column >= pairs) continue;
        const auto other = value_at<T>(pixel + channel * image.channel_stride + lag);
        const float difference =
            kernels::difference(static_cast<float>(value), static_cast<float>(other));
        differences.push_back(key_of_difference<T>(difference));
        if (difference > 0.0f && (step == 0.0f || difference < step)) step = difference;
      }
    }
  }
}

template <class T>
kernels::Noise noise_in(const ImageView& image) {
  Sample<T> sample(image);
  const auto middle = [](std::vector<uint32_t>& keys) {
    return order_statistic(keys, (keys.size() - 1) / 2, kKeyBits<T>);
  };
  const uint32_t background = middle(sample.values);
  float median = 0.0f;
  if (!sample.differences.empty()) median = difference_of_key<T>(middle(sample.differences));
  const float value = std::is_floating_point_v<T> ? kernels::value_of_float_key(background)
                                                  : value_of<T>(background);
  return kernels::noise_of(value, median, sample.step, sizeof(T) == 1);
}

struct Kept {
  kernels::Foreground foreground;
  uint64_t count;
  float ceiling;
};

// Takes the values that are set apart out of the counts.
template <class T>
Kept set_apart(Counts& counts, uint64_t all, const kernels::Noise& noise) {
  uint64_t excess[2][kernels::kExcessBins] = {};
  for (uint32_t bin = 0; bin < counts.size(); ++bin) {
    if (counts[bin] == 0) continue;
    const float value = value_of<T>(bin);
    const int at = kernels::excess_bin(value, noise);
    if (at >= 0) excess[value > noise.background][at] += counts[bin];
  }
  Kept kept = {kernels::foreground({excess[1], excess[0]}, all), all, kernels::kNoCeiling};
  if (kept.foreground.end == kernels::kExcessBins) return kept;
  const kernels::Window keys =
      std::is_floating_point_v<T> ? kernels::finite_halves() : kernels::Window{0, kBins<T> - 1};
  const kernels::Window window = kernels::window_of(noise, kept.foreground.end, keys, value_of<T>);
  for (uint32_t bin = 0; bin < counts.size(); ++bin) {
    if (bin >= window.first && bin <= window.last) continue;
    kept.count -= counts[bin];
    counts[bin] = 0;
  }
  if (window.last < keys.last) {
    kept.ceiling = std::is_floating_point_v<T>
                       ? kernels::value_of_float_key(window.last << 16 | 0xffffu)
                       : value_of<T>(window.last);
  }
  return kept;
}

// Does any of these values fall into one of the two bins? A plain loop, which is vectorised: nearly
// all blocks are passed over here.
template <class T>
bool any_in(const T* values, size_t count, uint32_t low, uint32_t high) {
  uint32_t hits = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t half = kernels::order_key(static_cast<float>(values[i])) >> 16;
    hits |= static_cast<uint32_t>(half == low) | static_cast<uint32_t>(half == high);
  }
  return hits != 0;
}

constexpr size_t kBlock = 64;

// The low halves inside the two bins, both in one pass: the upper bin's counts follow the lower's.
template <class T>
std::pair<double, double> refine(const ImageView& image, Found low, Found high, int threads) {
  const auto add_block = [&](auto& own, const T* values, size_t number) {
    if (!any_in(values, number, low.bin, high.bin)) return;
    for (size_t i = 0; i < number; ++i) {
      const uint32_t key = kernels::order_key(static_cast<float>(values[i]));
      if (key >> 16 == low.bin) own.increment(key & 0xffffu);
      if (key >> 16 == high.bin) own.increment(kBins16 | (key & 0xffffu));
    }
  };
  const Counts counts =
      histogram<T, 1>(image, 2 * kBins16, threads, [&](auto& own, const T* values, size_t number) {
        for (size_t i = 0; i < number; i += kBlock) {
          add_block(own, values + i, std::min(kBlock, number - i));
        }
      });
  const auto value = [&](Found found, uint32_t first) {
    const uint32_t low_half = find_bin(counts, found.rank, first).bin - first;
    return static_cast<double>(kernels::value_of_float_key(found.bin << 16 | low_half));
  };
  return {value(low, 0), value(high, kBins16)};
}

template <class T>
void check_finite(const ImageView& image, const Counts& high_halves, uint64_t all) {
  const uint64_t bad = count_not_finite(high_halves);
  if (bad == 0) return;
  const bool doubles = image.type == ValueType::kFloat64;
  const uint64_t not_finite = doubles ? count_not_finite_doubles(image) : bad;
  fail_not_finite(not_finite, bad - not_finite, all);
}

template <class T>
Limits limits_of(const ImageView& image, double low, double high, int threads) {
  constexpr size_t kTables = sizeof(T) == 1 ? kTables8 : kTables16;
  const auto bin = [](T value) { return bin_of<T>(value); };
  Counts counts = histogram<T, kTables>(
      image, kBins<T>, threads,
      [&](auto& own, const T* values, size_t number) { own.add(values, number, bin); });
  const auto all = static_cast<uint64_t>(image.height * image.values_per_row());
  if constexpr (std::is_floating_point_v<T>) check_finite<T>(image, counts, all);
  const kernels::Noise noise = noise_in<T>(image);
  const Kept kept = set_apart<T>(counts, all, noise);
  const kernels::Ranks ranks = kernels::ranks_of(kept.foreground, kept.count, low, high);
  const Found first = find_bin(counts, ranks.low, 0);
  const Found last = find_bin(counts, ranks.high - (ranks.low - first.rank), first.bin);
  std::pair<double, double> found;
  if constexpr (std::is_floating_point_v<T>) {
    found = refine<T>(image, first, last, threads);
  } else {
    found = {value_of<T>(first.bin), value_of<T>(last.bin)};
  }
  const bool is_blank =
      kernels::is_blank(static_cast<float>(found.first), static_cast<float>(found.second), noise);
  return {found.first, is_blank ? found.first : found.second, kept.ceiling,
          static_cast<double>(all - kept.count) / static_cast<double>(all)};
}

}  // namespace

void fail_not_finite(uint64_t not_finite, uint64_t beyond, uint64_t all) {
  throw std::invalid_argument(
      "image: " + (not_finite > 0 ? count_text(not_finite, all) + " not finite (NaN or infinite)"
                                  : count_text(beyond, all) + " beyond the range of float32"));
}

Limits limits(const ImageView& image, double low, double high, int threads) {
  return with_value_type(
      image.type, [&](auto zero) { return limits_of<decltype(zero)>(image, low, high, threads); });
}

}  // namespace nucleiseg::cpu
