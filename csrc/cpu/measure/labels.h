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

  // 0 outside.
  int32_t at(int64_t row, int64_t column) const {
    const bool is_inside = row >= 0 && row < height && column >= 0 && column < width;
    return is_inside ? ids[row * width + column] : 0;
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

// Calls fn(id, begin, end) for each run of equal ids that are not 0.
template <class Function>
void each_run(const int32_t* ids, int64_t width, Function&& fn) {
  for (int64_t begin = 0; begin < width;) {
    int64_t end = begin + 1;
    while (end < width && ids[end] == ids[begin]) ++end;
    if (ids[begin] != 0) fn(ids[begin], static_cast<int32_t>(begin), static_cast<int32_t>(end));
    begin = end;
  }
}

// areas[i]: the pixels of label i + 1, for i = 0..count - 1.
inline void count_pixels(const LabelView& labels, int32_t count, int64_t* areas) {
  std::fill(areas, areas + count, 0);
  for (int64_t row = 0; row < labels.height; ++row) {
    each_run(labels.row(row), labels.width,
             [&](int32_t label, int32_t begin, int32_t end) { areas[label - 1] += end - begin; });
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

// Calls find(row, items) for all rows in parallel, and groups what it adds to the items.
template <class T, class Find>
Groups<T> group_rows(const LabelView& labels, int32_t count, int threads, const Find& find) {
  const int64_t rows = rows_per_thread(labels.width);
  std::vector<std::vector<T>> strips(static_cast<size_t>((labels.height + rows - 1) / rows));
  parallel_for(labels.height, rows, threads, [&](int64_t begin, int64_t end) {
    std::vector<T>& strip = strips[static_cast<size_t>(begin / rows)];
    for (int64_t row = begin; row < end; ++row) find(row, strip);
  });
  return group_by_label(strips, count);
}

}  // namespace nucleiseg::cpu
