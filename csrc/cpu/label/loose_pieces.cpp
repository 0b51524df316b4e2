// Runs of equal labels are united with those that they touch in the row above, as a forest whose
// roots are the first runs of their pieces (Wu, Otoo and Suzuki, "Optimizing two-pass
// connected-component labeling algorithms", 2009, doi:10.1007/s10044-008-0109-y).
#include <algorithm>
#include <vector>

#include "cpu/label/fill.h"
#include "cpu/label/label.h"
#include "cpu/measure/labels.h"

namespace nucleiseg::cpu {
namespace {

struct Run {
  int32_t label;
  int32_t begin;
  int32_t end;
  int32_t parent;
};

class Pieces {
 public:
  Pieces(int32_t* labels, int64_t height, int64_t width) : labels_(labels), width_(width) {
    row_begin_.reserve(static_cast<size_t>(height) + 1);
    size_t above = 0;
    for (int64_t row = 0; row < height; ++row) {
      const size_t here = runs_.size();
      row_begin_.push_back(here);
      each_run(labels + row * width, width, [&](int32_t label, int32_t begin, int32_t end) {
        runs_.push_back({label, begin, end, static_cast<int32_t>(runs_.size())});
        most_ = std::max(most_, label);
      });
      unite_rows(above, here);
      above = here;
    }
    row_begin_.push_back(runs_.size());
  }

  int32_t run() {
    choose();
    const int32_t count = number();
    for (size_t row = 0; row + 1 < row_begin_.size(); ++row) {
      for (size_t i = row_begin_[row]; i < row_begin_[row + 1]; ++i) {
        const Run& one = runs_[i];
        fill_exactly(labels_ + static_cast<int64_t>(row) * width_ + one.begin, one.end - one.begin,
                     one.label);
      }
    }
    return count;
  }

 private:
  int32_t find(int32_t run) {
    while (at(run).parent != run) run = at(run).parent = at(at(run).parent).parent;
    return run;
  }
  Run& at(int32_t run) { return runs_[static_cast<size_t>(run)]; }

  void unite_rows(size_t above, size_t here) {
    for (size_t i = here; i < runs_.size(); ++i) {
      while (above < here && runs_[above].end < runs_[i].begin) ++above;
      for (size_t k = above; k < here && runs_[k].begin <= runs_[i].end; ++k) {
        if (runs_[k].label == runs_[i].label) {
          unite(find(static_cast<int32_t>(k)), find(static_cast<int32_t>(i)));
        }
      }
    }
  }

  void unite(int32_t a, int32_t b) { at(std::max(a, b)).parent = std::min(a, b); }

  // Of each label: the first run of its largest piece.
  void choose() {
    std::vector<int64_t> areas(runs_.size());
    for (size_t i = 0; i < runs_.size(); ++i) {
      areas[static_cast<size_t>(find(static_cast<int32_t>(i)))] += runs_[i].end - runs_[i].begin;
    }
    largest_.assign(static_cast<size_t>(most_) + 1, -1);
    for (size_t i = 0; i < runs_.size(); ++i) {
      int32_t& best = largest_[static_cast<size_t>(runs_[i].label)];
      if (best < 0 || areas[i] > areas[static_cast<size_t>(best)]) best = static_cast<int32_t>(i);
    }
  }

  int32_t number() {
    int32_t count = 0;
    for (size_t i = 0; i < runs_.size(); ++i) {
      const auto run = static_cast<int32_t>(i);
      const int32_t root = find(run);
      // The label of a root is its piece's new one, since it comes before the others of the piece.
      if (root != run) {
        runs_[i].label = at(root).label;
      } else {
        runs_[i].label = largest_[static_cast<size_t>(runs_[i].label)] == run ? ++count : 0;
      }
    }
    return count;
  }

  int32_t* labels_;
  const int64_t width_;
  int32_t most_ = 0;
  std::vector<size_t> row_begin_;
  std::vector<Run> runs_;
  std::vector<int32_t> largest_;
};

}  // namespace

int32_t drop_loose_pieces(int32_t* labels, int64_t height, int64_t width) {
  return Pieces(labels, height, width).run();
}

}  // namespace nucleiseg::cpu
