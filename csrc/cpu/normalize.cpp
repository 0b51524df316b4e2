#include "cpu/normalize.h"

#include "cpu/parallel.h"
#include "cpu/simd/rows.h"
#include "kernels/normalize.h"

namespace nucleiseg::cpu {
namespace {

NormalizeRow<uint8_t> row_function(const Rows& table, uint8_t) { return table.normalize_uint8; }
NormalizeRow<uint16_t> row_function(const Rows& table, uint16_t) { return table.normalize_uint16; }
NormalizeRow<int16_t> row_function(const Rows& table, int16_t) { return table.normalize_int16; }
NormalizeRow<float> row_function(const Rows& table, float) { return table.normalize_float; }
NormalizeRow<double> row_function(const Rows& table, double) { return table.normalize_double; }

constexpr int64_t kOutputChannels = 3;

}  // namespace

void normalize(const ImageView& image, float low, float high, uint8_t* out, int threads) {
  const kernels::Affine map = kernels::affine(low, high);
  const Rows& table = rows();
  const auto count = static_cast<size_t>(image.values_per_row());
  const bool grey = image.channels == 1;
  with_value_type(image.type, [&](auto zero) {
    using T = decltype(zero);
    const auto normalize_row = row_function(table, zero);
    parallel_for(image.height, rows_per_thread(image.values_per_row()), threads,
                 [&](int64_t begin, int64_t end) {
                   std::vector<T> scratch;
                   std::vector<uint8_t> bytes(grey ? count : 0);
                   for (int64_t row = begin; row < end; ++row) {
                     const T* values = row_values<T>(image, row, scratch);
                     uint8_t* target = out + row * image.width * kOutputChannels;
                     normalize_row(values, count, map.low, map.factor,
                                   grey ? bytes.data() : target);
                     if (grey) table.grey_to_rgb(bytes.data(), count, target);
                   }
                 });
  });
}

}  // namespace nucleiseg::cpu
