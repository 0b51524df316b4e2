// A label image, row after row: 0 is background, 1..n are nuclei.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

#include "threads/parallel.h"

namespace nucleiseg::cpu {

struct LabelView {
  const int32_t* ids;
  int64_t height;
  int64_t width;

  const int32_t* row(int64_t row) const { return ids + row * width; }

  bool contains(int64_t row, int64_t column) const {
    return row >= 0 && row < height && column >= 0 && column < width;
  }

  // 0 outside.
  int32_t at(int64_t row, int64_t column) const {
    return contains(row, column) ? ids[row * width + column] : 0;
  }
};

struct Range {
  int32_t least;
  int32_t greatest;
};

inline Range label_range(const LabelView& labels, int threads) {
  Range range = {labels.ids[0], labels.ids[0]};
  std::mutex lock;
  parallel_for(labels.height, rows_per_thread(labels.width), threads,
               [&](int64_t begin, int64_t end) {
                 Range own = {labels.row(begin)[0], labels.row(begin)[0]};
                 for (const int32_t* id = labels.row(begin); id != labels.row(end); ++id) {
                   own.least = std::min(own.least, *id);
                   own.greatest = std::max(own.greatest, *id);
                 }
                 const std::lock_guard<std::mutex> guard(lock);
                 range.least = std::min(range.least, own.least);
                 range.greatest = std::max(range.greatest, own.greatest);
               });
  return range;
}

// areas[i]: the pixels of label i + 1, for i = 0..count - 1.
inline void count_pixels(const LabelView& labels, int32_t count, int64_t* areas) {
  std::fill(areas, areas + count, 0);
  const int32_t* const end = labels.row(labels.height);
  for (const int32_t* id = labels.ids; id != end;) {
    const int32_t* const first = id;
    while (id != end && *id == *first) ++id;
    if (*first > 0) areas[*first - 1] += id - first;
  }
}

// Items in order of label, those of one from begin(label) to end(label).
template <class T>
struct Groups {
  std::vector<int64_t> first;
  std::vector<T> items;

  const T* begin(int64_t label) const { return items.data() + first[static_cast<size_t>(label)]; }
  const T* end(int64_t label) const { return begin(label + 1); }
};

// Sorts by counting, in linear time; items of one label keep their order.
template <class T>
Groups<T> group_by_label(const std::vector<std::vector<T>>& strips, int32_t count) {
  Groups<T> groups;
  groups.first.assign(static_cast<size_t>(count) + 2, 0);
  for (const std::vector<T>& strip : strips) {
    for (const T& item : strip) ++groups.first[static_cast<size_t>(item.label) + 1];
  }
  for (size_t i = 1; i < groups.first.size(); ++i) groups.first[i] += groups.first[i - 1];
  groups.items.resize(static_cast<size_t>(groups.first.back()));
  std::vector<int64_t> next = groups.first;
  for (const std::vector<T>& strip : strips) {
    for (const T& item : strip) {
      groups.items[static_cast<size_t>(next[static_cast<size_t>(item.label)]++)] = item;
    }
  }
  return groups;
}

}  // namespace nucleiseg::cpu
