// Percentiles by radix selection: the order keys' bytes, from the highest on. Each pass counts the
// next byte of the values that begin with the bytes found so far, for both percentiles at once.
// (Alabi, Blanchard, Gordon and Steinbach, "Fast k-Selection Algorithms for Graphics Processing
// Units", ACM JEA 17, 2012, doi:10.1145/2133803.2345676.)
#include <algorithm>
#include <type_traits>

#include "cuda/normalize.h"
#include "cuda/values.h"
#include "cuda/words.h"
#include "kernels/normalize.h"

namespace nucleiseg::NUCLEISEG_DEVICE {
namespace {

constexpr int kSides = 2;  // low and high
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
};

struct Ranks {
  uint64_t side[kSides];
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
__device__ __forceinline__ double value_of(uint32_t key) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<double>(kernels::value_of_float_key(key));
  } else {
    return static_cast<double>(key) - static_cast<double>(kernels::order_key(T{0}));
  }
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
// 1986, doi:10.1145/7902.7903); the one in whose bin the rank lies goes on from there. After the
// last byte it tells the value.
template <class T>
__global__ void choose_bytes(Ranks ranks, bool first, Search* search, Limits* found) {
  __shared__ uint64_t sums[2][kSides][kBins];
  __shared__ uint64_t rank[kSides];
  phase([&] {
    const uint32_t bin = threadIdx.x;
    for (int side = 0; side < kSides; ++side) {
      sums[0][side][bin] = search->counts[is_joint(*search) ? 0 : side][bin];
      if (bin == 0) rank[side] = first ? ranks.side[side] : search->rank[side];
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
      const uint32_t prefix = search->prefix[side] << kByteBits | bin;
      search->prefix[side] = prefix;
      search->rank[side] = rank[side] - before;
      if (found != nullptr) (side == 0 ? found->low : found->high) = value_of<T>(prefix);
    }
    if (found == nullptr || bin > 0) return;
    found->not_finite = static_cast<double>(search->not_finite);
    found->beyond = static_cast<double>(search->beyond);
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

template <class T, bool gapless>
void percentiles_as(const ImageView& image, const Ranks& ranks, Limits* found, Search* search,
                    cudaStream_t stream) {
  const int64_t count = image.height * image.values_per_row();
  const int64_t packs = (count + Pack<T>::kCount - 1) / Pack<T>::kCount;
  const int64_t each = std::clamp(blocks_for(packs) / kBlocks, int64_t{1}, kMostPacks);
  const int64_t blocks = (blocks_for(packs) + each - 1) / each;
  if constexpr (std::is_floating_point_v<T>) {
    launch_items(count_not_finite<T, gapless>, packs, stream, image, count, search);
  }
  for (int shift = kKeyBits<T> - kByteBits; shift >= 0; shift -= kByteBits) {
    const bool first = shift == kKeyBits<T> - kByteBits;
    launch_blocks(count_bytes<T, gapless>, blocks, kThreads, stream, image, count,
                  static_cast<int>(each), shift, search);
    launch_blocks(choose_bytes<T>, 1, kThreads, stream, ranks, first, search,
                  shift == 0 ? found : nullptr);
  }
}

}  // namespace

size_t percentiles_workspace() { return sizeof(Search); }

void percentiles(const ImageView& image, double low, double high, Limits* found, void* workspace,
                 cudaStream_t stream) {
  const auto count = static_cast<uint64_t>(image.height * image.values_per_row());
  const Ranks ranks = {{kernels::rank_of(low, count), kernels::rank_of(high, count)}};
  auto* const search = static_cast<Search*>(workspace);
  NUCLEISEG_CHECK(cudaMemsetAsync(search, 0, sizeof *search, stream));
  with_value_type(image.type, [&](auto zero) {
    using T = decltype(zero);
    if (is_gapless<T>(image)) {
      percentiles_as<T, true>(image, ranks, found, search, stream);
    } else {
      percentiles_as<T, false>(image, ranks, found, search, stream);
    }
  });
}

}  // namespace nucleiseg::NUCLEISEG_DEVICE
