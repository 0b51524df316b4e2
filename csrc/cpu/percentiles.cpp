// Percentiles by histogram. Integers: one bin a value. Floats: the order key's high half first,
// then the low half inside the bins that were found, which is exact.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "cpu/histogram.h"
#include "cpu/normalize.h"
#include "cpu/parallel.h"
#include "kernels/normalize.h"

namespace nucleiseg::cpu {
namespace {

constexpr uint32_t kBins8 = 1u << 8;
constexpr uint32_t kBins16 = 1u << 16;
// Neighbouring pixels are often equal. Counting them in different tables spares each increment the
// wait for the store before it.
constexpr size_t kTables8 = 8;
constexpr size_t kTables16 = 2;
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

Found find_bin(const Counts& counts, uint64_t rank) {
  uint32_t bin = 0;
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
std::pair<double, double> integer_percentiles(const ImageView& image, uint64_t low, uint64_t high,
                                              int threads) {
  constexpr bool kByte = sizeof(T) == 1;
  constexpr size_t kTables = kByte ? kTables8 : kTables16;
  const auto bin = [](T value) { return kernels::order_key(value); };
  const Counts counts = histogram<T, kTables>(
      image, kByte ? kBins8 : kBins16, threads,
      [&](auto& own, const T* values, size_t number) { own.add(values, number, bin); });
  const uint32_t least = kernels::order_key(T{0});  // keys are shifted so that order is unsigned
  const auto value = [&](uint64_t rank) {
    return static_cast<double>(find_bin(counts, rank).bin) - static_cast<double>(least);
  };
  return {value(low), value(high)};
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
    uint32_t low_half = 0;
    for (uint64_t rank = found.rank; rank >= counts[first + low_half]; ++low_half) {
      rank -= counts[first + low_half];
    }
    return static_cast<double>(kernels::value_of_float_key(found.bin << 16 | low_half));
  };
  return {value(low, 0), value(high, kBins16)};
}

template <class T>
std::pair<double, double> float_percentiles(const ImageView& image, uint64_t low, uint64_t high,
                                            int threads) {
  const auto bin = [](T value) { return kernels::order_key(static_cast<float>(value)) >> 16; };
  const Counts counts = histogram<T, kTables16>(
      image, kBins16, threads,
      [&](auto& own, const T* values, size_t number) { own.add(values, number, bin); });
  const auto all = static_cast<uint64_t>(image.height * image.values_per_row());
  const uint64_t bad = count_not_finite(counts);
  if (bad > 0) {
    const bool doubles = image.type == ValueType::kFloat64;
    const uint64_t not_finite = doubles ? count_not_finite_doubles(image) : bad;
    fail_not_finite(not_finite, bad - not_finite, all);
  }
  return refine<T>(image, find_bin(counts, low), find_bin(counts, high), threads);
}

}  // namespace

void fail_not_finite(uint64_t not_finite, uint64_t beyond, uint64_t all) {
  throw std::invalid_argument(
      "image: " + (not_finite > 0 ? count_text(not_finite, all) + " not finite (NaN or infinite)"
                                  : count_text(beyond, all) + " beyond the range of float32"));
}

std::pair<double, double> percentiles(const ImageView& image, double low, double high,
                                      int threads) {
  const auto all = static_cast<uint64_t>(image.height * image.values_per_row());
  const uint64_t low_rank = kernels::rank_of(low, all);
  const uint64_t high_rank = kernels::rank_of(high, all);
  return with_value_type(image.type, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_floating_point_v<T>) {
      return float_percentiles<T>(image, low_rank, high_rank, threads);
    } else {
      return integer_percentiles<T>(image, low_rank, high_rank, threads);
    }
  });
}

}  // namespace nucleiseg::cpu
