// The limits of csrc/kernels/limits.h. Order statistics are found by radix selection: the order
// keys' bytes, from the highest on. Each pass counts the next byte of the values that begin with
// the bytes found so far, for two ranks at once. (Alabi, Blanchard, Gordon and Steinbach, "Fast
// k-Selection Algorithms for Graphics Processing Units", ACM JEA 17, 2012,
// doi:10.1145/2133803.2345676.)
#include <algorithm>
#include <type_traits>

#include "cuda/normalize.h"
#include "cuda/values.h"
#include "cuda/words.h"
#include "kernels/limits.h"
#include "kernels/normalize.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

constexpr int kSides = 2;  // low and high, or values and differences
constexpr uint32_t kBins = 256;
constexpr int kByteBits = 8;
static_assert(kBins == kThreads, "a block has a thread for each bin");

// Packs that one thread counts before its block adds its counts to the others': as few as make
// blocks for a large card, and no more than keep that addition short beside the counting.
constexpr int64_t kMostPacks = 16;
constexpr int64_t kBlocks = 256;

struct Search {
  uint32_t prefix[kSides];
  uint64_t rank[kSides];  // among the values that begin with the prefix
  uint64_t not_finite;
  uint64_t beyond;
  uint64_t counts[kSides][kBins];
  uint64_t closest;  // the largest complement of a difference's key
  kernels::Noise noise;
  uint64_t excess[kSides][kernels::kExcessBins];  // below the background, and above
  kernels::Window window;                         // keys of values that are not set apart
};

template <class T>
using Key = std::conditional_t<std::is_floating_point_v<T>, float, T>;

template <class T>
constexpr int kKeyBits = 8 * static_cast<int>(sizeof(Key<T>));

template <class T>
__device__ __forceinline__ uint32_t key_of(T value) {
  return kernels::order_key(static_cast<Key<T>>(value));
}

template <class T>
__device__ __forceinline__ float value_of(uint32_t key) {
  if constexpr (std::is_floating_point_v<T>) {
    return kernels::value_of_float_key(key);
  } else {
    return static_cast<float>(key) - static_cast<float>(kernels::order_key(T{0}));
  }
}

template <class T>
__device__ __forceinline__ uint32_t key_of_difference(float difference) {
  if constexpr (std::is_floating_point_v<T>) return kernels::order_key(difference);
  return static_cast<uint32_t>(difference);
}

template <class T>
__device__ __forceinline__ float difference_of_key(uint32_t key) {
  if constexpr (std::is_floating_point_v<T>) return kernels::value_of_float_key(key);
  return static_cast<float>(key);
}

// Neighbouring values are often equal: counted together, they cost one access.
class Tally {
 public:
  __device__ __forceinline__ explicit Tally(uint32_t* bins) : bins_(bins) {}
  __device__ __forceinline__ ~Tally() { flush(); }

  __device__ __forceinline__ void add(uint32_t bin) {
    if (bin != bin_) {
      flush();
      bin_ = bin;
    }
    ++count_;
  }

 private:
  __device__ __forceinline__ void flush() {
    if (count_ > 0) atomic_add(bins_ + bin_, count_);
    count_ = 0;
  }

  uint32_t* const bins_;
  uint32_t bin_ = 0;
  uint32_t count_ = 0;
};

// Where the prefixes are the same, so are the counts: the first side's then serve both.
__device__ __forceinline__ bool is_joint(const Search& search) {
  return search.prefix[0] == search.prefix[1];
}

template <class T, bool gapless>
__device__ __forceinline__ void count_values(const ImageView& image, int64_t count, int packs,
                                             int shift, const Search& search,
                                             uint32_t (*bins)[kBins]) {
  const uint32_t low = search.prefix[0];
  const uint32_t high = search.prefix[1];
  const bool joint = low == high;
  Tally low_tally(bins[0]);
  Tally high_tally(bins[1]);
  for (int k = 0; k < packs; ++k) {
    const int64_t pack = (int64_t{blockIdx.x} * packs + k) * blockDim.x + threadIdx.x;
    const int64_t first = pack * Pack<T>::kCount;
    if (first >= count) break;
    const auto values = values_at<T, gapless>(image, first, count);
    NUCLEISEG_UNROLL for (int i = 0; i < Pack<T>::kCount; ++i) {
      if (first + i >= count) break;
      const uint64_t key = key_of(values.values[i]);
      if (key < search.window.first || key > search.window.last) continue;
      const auto begin = static_cast<uint32_t>(key >> (shift + kByteBits));
      const uint32_t bin = static_cast<uint32_t>(key >> shift) % kBins;
      if (begin == low) low_tally.add(bin);
      if (begin == high && !joint) high_tally.add(bin);
    }
  }
}

template <class T, bool gapless>
__global__ void count_bytes(ImageView image, int64_t count, int packs, int shift, Search* search) {
  __shared__ uint32_t bins[kSides][kBins];
  phase([&] { bins[0][threadIdx.x] = bins[1][threadIdx.x] = 0; });
  phase([&] { count_values<T, gapless>(image, count, packs, shift, *search, bins); });
  phase([&] {
    for (int side = 0; side < kSides; ++side) {
      const uint64_t found = bins[side][threadIdx.x];
      if (found > 0) atomic_add(&search->counts[side][threadIdx.x], found);
    }
  });
}

// Narrows the search by a byte, and empties the counts for the next. A thread for each bin adds up
// the counts of the bins up to its own (Hillis and Steele, "Data Parallel Algorithms", CACM 29(12),
// 1986, doi:10.1145/7902.7903); the one in whose bin the rank lies goes on from there.
__device__ __forceinline__ void narrow(Search* search, bool joint) {
  __shared__ uint64_t sums[2][kSides][kBins];
  __shared__ uint64_t rank[kSides];
  phase([&] {
    const uint32_t bin = threadIdx.x;
    for (int side = 0; side < kSides; ++side) {
      sums[0][side][bin] = search->counts[joint ? 0 : side][bin];
      if (bin == 0) rank[side] = search->rank[side];
    }
  });
  int from = 0;
  for (uint32_t step = 1; step < kBins; step *= 2, from = 1 - from) {
    phase([&] {
      const uint32_t bin = threadIdx.x;
      for (int side = 0; side < kSides; ++side) {
        const uint64_t* const sum = sums[from][side];
        sums[1 - from][side][bin] = sum[bin] + (bin >= step ? sum[bin - step] : 0);
      }
    });
  }
  phase([&] {
    const uint32_t bin = threadIdx.x;
    for (int side = 0; side < kSides; ++side) {
      search->counts[side][bin] = 0;
      const uint64_t* const sum = sums[from][side];
      const uint64_t before = bin > 0 ? sum[bin - 1] : 0;
      if (rank[side] < before || rank[side] >= sum[bin]) continue;
      search->prefix[side] = search->prefix[side] << kByteBits | bin;
      search->rank[side] = rank[side] - before;
    }
  });
}

// The grid of kernels::sample_axis, of which a thread has one value.
struct Grid {
  kernels::SampleAxis rows;
  kernels::SampleAxis columns;
  int64_t pairs;
  std::ptrdiff_t lag;  // bytes

  explicit Grid(const ImageView& image)
      : rows(kernels::sample_axis(image.height, kernels::kSampleRows)),
        columns(kernels::sample_axis(image.width, kernels::kSampleColumns)),
        pairs(kernels::sample_pairs(columns, image.width)),
        lag(kernels::sample_lag(image.width) * image.column_stride) {}
};

// Counts a byte of the keys of the grid's values, and of their differences.
template <class T>
__device__ __forceinline__ void count_pair(const ImageView& image, const Grid& grid, int64_t i,
                                           int shift, Search* search, uint32_t (*bins)[kBins]) {
  const int64_t channel = i % image.channels;
  const int64_t column = i / image.channels % grid.columns.count;
  const int64_t row = i / image.channels / grid.columns.count;
  const std::byte* const address =
      image.data + (grid.rows.first + row * grid.rows.step) * image.row_stride +
      (grid.columns.first + column * grid.columns.step) * image.column_stride +
      channel * image.channel_stride;
  const auto count = [&](int side, uint64_t key) {
    if (key >> (shift + kByteBits) != search->prefix[side]) return;
    atomic_add(&bins[side][static_cast<uint32_t>(key >> shift) % kBins], 1u);
  };
  const T value = value_at<T>(address);
  count(0, key_of(value));
  if (column >= grid.pairs) return;
  const T other = value_at<T>(address + grid.lag);
  const float difference =
      kernels::difference(static_cast<float>(value), static_cast<float>(other));
  const uint32_t key = key_of_difference<T>(difference);
  count(1, key);
  if (difference > 0.0f) atomic_max(&search->closest, uint64_t{~key});
}

template <class T>
__global__ void count_sample(ImageView image, Grid grid, int64_t count, int shift, Search* search) {
  __shared__ uint32_t bins[kSides][kBins];
  phase([&] { bins[0][threadIdx.x] = bins[1][threadIdx.x] = 0; });
  phase([&] {
    const int64_t i = item();
    if (i < count) count_pair<T>(image, grid, i, shift, search, bins);
  });
  phase([&] {
    for (int side = 0; side < kSides; ++side) {
      const uint64_t found = bins[side][threadIdx.x];
      if (found > 0) atomic_add(&search->counts[side][threadIdx.x], found);
    }
  });
}

// After the last byte it tells the noise.
template <class T>
__global__ void choose_sample(int64_t values, int64_t differences, bool first, bool last,
                              Search* search) {
  phase([&] {
    if (!first || threadIdx.x > 0) return;
    search->rank[0] = static_cast<uint64_t>(values - 1) / 2;
    search->rank[1] = differences > 0 ? static_cast<uint64_t>(differences - 1) / 2 : 0;
  });
  narrow(search, false);
  phase([&] {
    if (!last || threadIdx.x > 0) return;
    const bool known = search->closest > 0;
    const auto closest = static_cast<uint32_t>(~search->closest);
    search->noise =
        kernels::noise_of(value_of<T>(search->prefix[0]),
                          differences > 0 ? difference_of_key<T>(search->prefix[1]) : 0.0f,
                          known ? difference_of_key<T>(closest) : 0.0f, sizeof(T) == 1);
    search->prefix[0] = search->prefix[1] = 0;
  });
}

template <class T>
__device__ __forceinline__ float counted_as(T value) {
  if constexpr (std::is_floating_point_v<T>) return kernels::coarse(static_cast<float>(value));
  return static_cast<float>(value);
}

template <class T, bool gapless>
__global__ void count_excess(ImageView image, int64_t count, int packs, Search* search) {
  constexpr uint32_t kAll = kSides * kernels::kExcessBins;
  __shared__ uint32_t bins[kAll];
  phase([&] {
    for (uint32_t bin = threadIdx.x; bin < kAll; bin += blockDim.x) bins[bin] = 0;
  });
  phase([&] {
    const kernels::Noise noise = search->noise;
    Tally tally(bins);
    for (int k = 0; k < packs; ++k) {
      const int64_t pack = (int64_t{blockIdx.x} * packs + k) * blockDim.x + threadIdx.x;
      const int64_t first = pack * Pack<T>::kCount;
      if (first >= count) break;
      const auto values = values_at<T, gapless>(image, first, count);
      NUCLEISEG_UNROLL for (int i = 0; i < Pack<T>::kCount; ++i) {
        if (first + i >= count) break;
        const float value = counted_as(values.values[i]);
        const int bin = kernels::excess_bin(value, noise);
        if (bin < 0) continue;
        tally.add(static_cast<uint32_t>(bin + (value > noise.background) * kernels::kExcessBins));
      }
    }
  });
  phase([&] {
    uint64_t* const sums = &search->excess[0][0];
    for (uint32_t bin = threadIdx.x; bin < kAll; bin += blockDim.x) {
      if (bins[bin] > 0) atomic_add(sums + bin, uint64_t{bins[bin]});
    }
  });
}

template <class T>
__device__ __forceinline__ kernels::Window keys_to_keep(const kernels::Noise& noise, int end) {
  if constexpr (std::is_floating_point_v<T>) {
    const auto value = [](uint32_t half) { return kernels::value_of_float_key(half << 16); };
    const kernels::Window halves = kernels::window_of(noise, end, kernels::finite_halves(), value);
    return {halves.first << 16, halves.last << 16 | 0xffffu};
  } else {
    const kernels::Window all = {0, (1u << kKeyBits<T>)-1};
    return kernels::window_of(noise, end, all, value_of<T>);
  }
}

// What is set apart, and the ranks of the limits among the rest.
template <class T>
__global__ void choose_ranks(uint64_t count, double low, double high, Search* search,
                             Limits* found) {
  __shared__ uint64_t excess[kSides][kernels::kExcessBins];
  phase([&] {
    constexpr uint32_t kAll = kSides * kernels::kExcessBins;
    for (uint32_t bin = threadIdx.x; bin < kAll; bin += blockDim.x) {
      (&excess[0][0])[bin] = (&search->excess[0][0])[bin];
    }
  });
  phase([&] {
    if (threadIdx.x > 0) return;
    const kernels::Foreground foreground = kernels::foreground({excess[1], excess[0]}, count);
    const kernels::Window window = keys_to_keep<T>(search->noise, foreground.end);
    uint64_t apart = 0;
    for (int bin = foreground.end; bin < kernels::kExcessBins; ++bin) {
      apart += excess[0][bin] + excess[1][bin];
    }
    const kernels::Ranks ranks = kernels::ranks_of(foreground, count - apart, low, high);
    search->window = window;
    search->rank[0] = ranks.low;
    search->rank[1] = ranks.high;
    const bool is_limited = window.last < keys_to_keep<T>(search->noise, kernels::kExcessBins).last;
    found->ceiling =
        is_limited ? static_cast<double>(value_of<T>(window.last)) : kernels::kNoCeiling;
    found->apart = static_cast<double>(apart) / static_cast<double>(count);
    found->not_finite = static_cast<double>(search->not_finite);
    found->beyond = static_cast<double>(search->beyond);
  });
}

// After the last byte it tells the limits.
template <class T>
__global__ void choose_bytes(bool last, Search* search, Limits* found) {
  narrow(search, is_joint(*search));
  phase([&] {
    if (!last || threadIdx.x > 0) return;
    const float low = value_of<T>(search->prefix[0]);
    const float high = value_of<T>(search->prefix[1]);
    found->low = low;
    found->high = kernels::is_blank(low, high, search->noise) ? low : high;
  });
}

template <class T, bool gapless>
__global__ void count_not_finite(ImageView image, int64_t count, Search* search) {
  const int64_t first = item() * Pack<T>::kCount;
  if (first >= count) return;
  const auto values = values_at<T, gapless>(image, first, count);
  uint64_t not_finite = 0;
  uint64_t beyond = 0;
  NUCLEISEG_UNROLL for (int i = 0; i < Pack<T>::kCount; ++i) {
    if (first + i >= count) break;
    const bool finite = kernels::is_finite(values.values[i]);
    not_finite += !finite;
    beyond += finite && !kernels::is_finite(static_cast<float>(values.values[i]));
  }
  if (not_finite > 0) atomic_add(&search->not_finite, not_finite);
  if (beyond > 0) atomic_add(&search->beyond, beyond);
}

template <class T>
void find_noise(const ImageView& image, Search* search, cudaStream_t stream) {
  const Grid grid(image);
  const int64_t rows = grid.rows.count * image.channels;
  const int64_t values = rows * grid.columns.count;
  for (int shift = kKeyBits<T> - kByteBits; shift >= 0; shift -= kByteBits) {
    launch_blocks(count_sample<T>, blocks_for(values), kThreads, stream, image, grid, values, shift,
                  search);
    launch_blocks(choose_sample<T>, 1, kThreads, stream, values, rows * grid.pairs,
                  shift == kKeyBits<T> - kByteBits, shift == 0, search);
  }
}

template <class T, bool gapless>
void limits_as(const ImageView& image, double low, double high, Limits* found, Search* search,
               cudaStream_t stream) {
  const int64_t count = image.height * image.values_per_row();
  const int64_t packs = (count + Pack<T>::kCount - 1) / Pack<T>::kCount;
  const int64_t each = std::clamp(blocks_for(packs) / kBlocks, int64_t{1}, kMostPacks);
  const int64_t blocks = (blocks_for(packs) + each - 1) / each;
  if constexpr (std::is_floating_point_v<T>) {
    launch_items(count_not_finite<T, gapless>, packs, stream, image, count, search);
  }
  find_noise<T>(image, search, stream);
  launch_blocks(count_excess<T, gapless>, blocks, kThreads, stream, image, count,
                static_cast<int>(each), search);
  launch_blocks(choose_ranks<T>, 1, kThreads, stream, count, low, high, search, found);
  for (int shift = kKeyBits<T> - kByteBits; shift >= 0; shift -= kByteBits) {
    launch_blocks(count_bytes<T, gapless>, blocks, kThreads, stream, image, count,
                  static_cast<int>(each), shift, search);
    launch_blocks(choose_bytes<T>, 1, kThreads, stream, shift == 0, search, found);
  }
}

}  // namespace

size_t limits_workspace() { return sizeof(Search); }

void limits_of(const ImageView& image, double low, double high, Limits* found, void* workspace,
               cudaStream_t stream) {
  auto* const search = static_cast<Search*>(workspace);
  NUCLEISEG_CHECK(cudaMemsetAsync(search, 0, sizeof *search, stream));
  with_value_type(image.type, [&](auto zero) {
    using T = decltype(zero);
    if (is_gapless<T>(image)) {
      limits_as<T, true>(image, low, high, found, search, stream);
    } else {
      limits_as<T, false>(image, low, high, found, search, stream);
    }
  });
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
