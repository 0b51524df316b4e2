#include "cpu/runs.h"

#include <algorithm>

#include "cpu/parallel.h"

namespace nucleiseg::cpu {
namespace {

// Pixels of [begin, end) of the row whose neighbour in another row, `shift` columns on, is
// another's.
int64_t count_other(const LabelView& labels, const NucleusRun& run, int64_t row, int64_t shift) {
  const int64_t size = run.end - run.begin;
  if (row < 0 || row >= labels.height) return size;
  const int32_t* ids = labels.row(row) + shift;
  const int64_t begin = std::max<int64_t>(run.begin, -shift);
  int64_t same = 0;
  for (int64_t column = begin; column < run.end; ++column) same += ids[column] == run.label;
  return size - same;
}

NucleusRun with_crossings(const LabelView& labels, NucleusRun run) {
  run.crossings = {
      1 + count_other(labels, run, run.row - 1, 0),
      count_other(labels, run, run.row - 1, -1) + count_other(labels, run, run.row + 1, -1)};
  return run;
}

// Keys of a strip's rows and of `reach` more above and below, each the least over the pixels
// around, a step away from each neighbour: two passes are exact for the chessboard distance
// (Rosenfeld and Pfaltz, "Sequential Operations in Digital Picture Processing", 1966,
// doi:10.1145/321356.321357).
class RingStrip {
 public:
  RingStrip(const LabelView& labels, int64_t reach) : labels_(labels), reach_(reach) {}

  template <class Function>
  void run(int64_t begin, int64_t end, Function&& fn) {
    const int64_t first = std::max<int64_t>(0, begin - reach_);
    const int64_t last = std::min(labels_.height, end + reach_);
    load(first, last);
    for (int64_t row = 1; row < last - first + 1; ++row) spread(row, row - 1, 1);
    for (int64_t row = last - first; row > 0; --row) spread(row, row + 1, -1);
    std::vector<int32_t> owners(static_cast<size_t>(labels_.width));
    for (int64_t row = begin; row < end; ++row) {
      const uint64_t* keys = line(row - first + 1);
      const int32_t* ids = labels_.row(row);
      for (size_t i = 0; i < owners.size(); ++i) {
        owners[i] = ids[i] != 0 ? 0 : kernels::ring_owner(keys[i], reach_);
      }
      fn(row, owners.data());
    }
  }

 private:
  // A row above and below, and a column left and right, are nobody's.
  uint64_t* line(int64_t row) {
    return keys_.data() + static_cast<size_t>(row * (labels_.width + 2) + 1);
  }

  void load(int64_t first, int64_t last) {
    const auto size = static_cast<size_t>((last - first + 2) * (labels_.width + 2));
    keys_.assign(size, kernels::kNoRing);
    for (int64_t row = first; row < last; ++row) {
      uint64_t* keys = line(row - first + 1);
      const int32_t* ids = labels_.row(row);
      for (int64_t column = 0; column < labels_.width; ++column) {
        keys[column] = kernels::ring_key(ids[column]);
      }
    }
  }

  // From the row before, then along the row.
  void spread(int64_t row, int64_t before, int64_t step) {
    uint64_t* keys = line(row);
    const uint64_t* near = line(before);
    for (int64_t i = 0; i < labels_.width; ++i) {
      const uint64_t least = std::min(std::min(near[i - 1], near[i]), near[i + 1]);
      keys[i] = std::min(keys[i], least + kernels::kRingStep);
    }
    const int64_t first = step > 0 ? 0 : labels_.width - 1;
    uint64_t key = kernels::kNoRing;
    for (int64_t i = first; i >= 0 && i < labels_.width; i += step) {
      key = std::min(keys[i], key + kernels::kRingStep);
      keys[i] = key;
    }
  }

  const LabelView& labels_;
  const int64_t reach_;
  std::vector<uint64_t> keys_;
};

}  // namespace

Groups<NucleusRun> nucleus_runs(const LabelView& labels, int32_t count, int threads) {
  const int64_t rows = rows_per_thread(labels.width);
  std::vector<std::vector<NucleusRun>> strips(
      static_cast<size_t>((labels.height + rows - 1) / rows));
  parallel_for(labels.height, rows, threads, [&](int64_t strip_begin, int64_t strip_end) {
    std::vector<NucleusRun>& strip = strips[static_cast<size_t>(strip_begin / rows)];
    for (int64_t row = strip_begin; row < strip_end; ++row) {
      each_run(labels.row(row), labels.width, [&](int32_t label, int32_t begin, int32_t end) {
        strip.push_back(
            with_crossings(labels, {{label, static_cast<int32_t>(row), begin, end}, {}}));
      });
    }
  });
  return group_by_label(strips, count);
}

Groups<LabelRun> ring_runs(const LabelView& labels, int32_t count, int64_t reach, int threads) {
  reach = std::min(reach, std::max(labels.height, labels.width));
  // The rows around a strip are worked on twice: at most half as many as its own.
  const int64_t rows = std::max(rows_per_thread(labels.width), 4 * reach);
  const int64_t count_of_strips = (labels.height + rows - 1) / rows;
  std::vector<std::vector<LabelRun>> strips(static_cast<size_t>(count_of_strips));
  parallel_for(count_of_strips, 1, threads, [&](int64_t first, int64_t last) {
    RingStrip ring(labels, reach);
    for (int64_t i = first; i < last; ++i) {
      std::vector<LabelRun>& strip = strips[static_cast<size_t>(i)];
      const int64_t end = std::min(labels.height, (i + 1) * rows);
      ring.run(i * rows, end, [&](int64_t row, const int32_t* owners) {
        each_run(owners, labels.width, [&](int32_t label, int32_t begin, int32_t stop) {
          strip.push_back({label, static_cast<int32_t>(row), begin, stop});
        });
      });
    }
  });
  return group_by_label(strips, count);
}

}  // namespace nucleiseg::cpu
