#include "cpu/measure/runs.h"

#include <algorithm>

#include "cpu/simd/rows.h"
#include "threads/parallel.h"

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

// How far each round of a row's widening goes: their sums are all distances up to `reach`.
std::vector<int64_t> widenings(int64_t reach) {
  std::vector<int64_t> shifts;
  for (int64_t done = 0; done < reach; done += shifts.back()) {
    shifts.push_back(std::min(done + 1, reach - done));
  }
  return shifts;
}

// The owners of a strip's rows. A pixel's key is the least over all nuclei; those within an eighth
// turn of straight up and down come from the rows before, each a step from its three neighbours,
// as in the passes of Rosenfeld and Pfaltz ("Sequential Operations in Digital Picture Processing",
// 1966, doi:10.1145/321356.321357), and all others along the row. That is in rounds and not from
// pixel to pixel, so that many pixels are done at once.
template <class Key>
class RingStrip {
 public:
  RingStrip(const LabelView& labels, int64_t reach, int id_bits, const RingRows<Key>& rows)
      : labels_(labels),
        reach_(reach),
        rule_(kernels::ring_keys<Key>(id_bits, reach)),
        rows_(rows),
        shifts_(widenings(reach)) {
    for (std::vector<Key>& row : below_) row.assign(size(1), rule_.none);
    for (std::vector<Key>& row : wide_) row.assign(size(reach_), rule_.none);
  }

  // Calls fn(row, owners) for each of the rows from `begin` to `end`.
  template <class Function>
  void run(int64_t begin, int64_t end, Function&& fn) {
    first_ = std::max<int64_t>(0, begin - reach_);
    const int64_t last = std::min(labels_.height, end + reach_);
    above_.assign(static_cast<size_t>(end - first_ + 1) * size(1), rule_.none);
    owners_.resize(static_cast<size_t>((end - begin) * labels_.width));
    for (int64_t row = first_; row < end; ++row) {
      rows_.spread(labels_.row(row), from_above(row - 1), width(), rule_, from_above(row));
    }
    Key* here = below_[0].data() + 1;
    Key* before = below_[1].data() + 1;
    std::fill(before, before + labels_.width, rule_.none);
    for (int64_t row = last; row-- > begin;) {
      rows_.spread(labels_.row(row), before, width(), rule_, here);
      if (row < end) own(row, here, owners_.data() + (row - begin) * labels_.width);
      std::swap(here, before);
    }
    for (int64_t row = begin; row < end; ++row) {
      fn(row, owners_.data() + (row - begin) * labels_.width);
    }
  }

 private:
  size_t width() const { return static_cast<size_t>(labels_.width); }
  size_t size(int64_t margin) const { return static_cast<size_t>(labels_.width + 2 * margin); }

  // A column left and right, and a row above the first, are nobody's.
  Key* from_above(int64_t row) {
    return above_.data() + static_cast<size_t>(row - first_ + 1) * size(1) + 1;
  }

  void own(int64_t row, const Key* from_below, int32_t* owners) {
    Key* here = wide_[0].data() + reach_;
    Key* before = wide_[1].data() + reach_;
    rows_.least(from_above(row), from_below, width(), here);
    for (const int64_t shift : shifts_) {
      std::swap(here, before);
      rows_.widen(before, width(), static_cast<size_t>(shift),
                  static_cast<Key>(static_cast<Key>(shift) * rule_.step), here);
    }
    rows_.owners(labels_.row(row), here, width(), rule_, owners);
  }

  const LabelView& labels_;
  const int64_t reach_;
  const kernels::RingKeys<Key> rule_;
  const RingRows<Key>& rows_;
  const std::vector<int64_t> shifts_;
  int64_t first_ = 0;
  std::vector<Key> above_;
  std::vector<Key> below_[2];
  std::vector<Key> wide_[2];
  std::vector<int32_t> owners_;
};

template <class Key>
std::vector<std::vector<LabelRun>> ring_strips(const LabelView& labels, int64_t reach, int id_bits,
                                               const RingRows<Key>& kernels, int threads) {
  // The rows around a strip are worked on twice: at most half as many as its own.
  const int64_t rows = std::max(rows_per_thread(labels.width), 4 * reach);
  const int64_t count = (labels.height + rows - 1) / rows;
  std::vector<std::vector<LabelRun>> strips(static_cast<size_t>(count));
  parallel_for(count, 1, threads, [&](int64_t first, int64_t last) {
    RingStrip<Key> ring(labels, reach, id_bits, kernels);
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
  return strips;
}

int bits_for(int32_t count) {
  int bits = 1;
  while (count >> bits != 0) ++bits;
  return bits;
}

}  // namespace

Groups<NucleusRun> nucleus_runs(const LabelView& labels, int32_t count, int threads) {
  return group_rows<NucleusRun>(labels, count, threads, [&](int64_t row, auto& runs) {
    each_run(labels.row(row), labels.width, [&](int32_t label, int32_t begin, int32_t end) {
      runs.push_back(with_crossings(labels, {{label, static_cast<int32_t>(row), begin, end}, {}}));
    });
  });
}

Groups<LabelRun> ring_runs(const LabelView& labels, int32_t count, int64_t reach, int threads) {
  if (reach == 0) return group_by_label<LabelRun>({}, count);
  reach = std::min(reach, std::max(labels.height, labels.width));
  const int bits = bits_for(count);
  constexpr int kNarrow = 32;
  const auto strips = kernels::ring_fits(bits, reach, kNarrow)
                          ? ring_strips(labels, reach, bits, rows().ring32, threads)
                          : ring_strips(labels, reach, bits, rows().ring64, threads);
  return group_by_label(strips, count);
}

}  // namespace nucleiseg::cpu
