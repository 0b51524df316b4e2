#include "cpu/normalize/normalize.h"

#include <type_traits>

#include "cpu/simd/rows.h"
#include "kernels/normalize.h"
#include "threads/parallel.h"

namespace nucleiseg::cpu {
namespace {

NormalizeRow<uint8_t> row_function(const Rows& table, uint8_t) { return table.normalize_uint8; }
NormalizeRow<uint16_t> row_function(const Rows& table, uint16_t) { return table.normalize_uint16; }
NormalizeRow<int16_t> row_function(const Rows& table, int16_t) { return table.normalize_int16; }
NormalizeRow<float> row_function(const Rows& table, float) { return table.normalize_float; }
NormalizeRow<double> row_function(const Rows& table, double) { return table.normalize_double; }

constexpr int64_t kOutputChannels = 3;

// Writes a row of values as bytes: computes them, or looks them up where there are but 256.
template <class T>
class NormalizeValues {
 public:
  explicit NormalizeValues(const kernels::Affine& map)
      : map_(map), compute_(row_function(rows(), T{})) {
    if constexpr (std::is_same_v<T, uint8_t>) {
      look_up_ = look_up();
      for (int value = 0; look_up_ && value < kValues; ++value) {
        table_[value] = kernels::normalize(static_cast<float>(value), map);
      }
    }
  }

  void operator()(const T* values, size_t count, uint8_t* out) const {
    if constexpr (std::is_same_v<T, uint8_t>) {
      if (look_up_) return look_up_(table_, values, count, out);
    }
    compute_(values, count, map_, out);
  }

 private:
  static constexpr int kValues = 256;
  kernels::Affine map_;
  NormalizeRow<T> compute_;
  LookUp look_up_ = nullptr;
  uint8_t table_[kValues] = {};
};

}  // namespace

void normalize(const ImageView& image, float low, float high, float ceiling, uint8_t* out,
               int threads) {
  const kernels::Affine map = kernels::affine(low, high, ceiling);
  const Rows& table = rows();
  const auto count = static_cast<size_t>(image.values_per_row());
  const bool grey = image.channels == 1;
  with_value_type(image.type, [&](auto zero) {
    using T = decltype(zero);
    const NormalizeValues<T> normalize_row(map);
    parallel_for(image.height, rows_per_thread(image.values_per_row()), threads,
                 [&](int64_t begin, int64_t end) {
                   std::vector<T> scratch;
                   std::vector<uint8_t> bytes(grey ? count : 0);
                   for (int64_t row = begin; row < end; ++row) {
                     const T* values = row_values<T>(image, row, scratch);
                     uint8_t* target = out + row * image.width * kOutputChannels;
                     normalize_row(values, count, grey ? bytes.data() : target);
                     if (grey) table.grey_to_rgb(bytes.data(), count, target);
                   }
                 });
  });
}

}  // namespace nucleiseg::cpu
