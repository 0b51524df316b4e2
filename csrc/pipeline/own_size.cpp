#include "pipeline/own_size.h"

#include <algorithm>
#include <cstring>

#include "cpu/label/label.h"
#include "cpu/tiles/resize.h"
#include "kernels/label.h"
#include "kernels/tiles.h"
#include "pipeline/flow.h"
#include "threads/parallel.h"

namespace nucleiseg::pipeline {
namespace {

constexpr int64_t kReach = 8;        // rows of maps on each side that a result's row depends on
constexpr int64_t kChunk = 1 << 23;  // pixels of maps that are decoded at once
constexpr double kBandBytes = 2.5;   // of a pixel of the image: what a band of maps may take
constexpr int64_t kLeastRows = 512;  // of a band even so: less would be spent on tiles' halos

// Which of an axis's `seen` pixels holds the centre of each of `length` pixels.
std::vector<int64_t> nearest(int64_t length, int64_t seen) {
  std::vector<int64_t> found;
  found.reserve(static_cast<size_t>(length));
  for (int64_t i = 0; i < length; ++i) found.push_back((2 * i + 1) * seen / (2 * length));
  return found;
}

int64_t map_bytes(int64_t pixels) { return pixels * kernels::kMapChannels; }

}  // namespace

int64_t band_rows(const Size& image, const Size& seen) {
  const double bytes = kBandBytes * static_cast<double>(image.pixels());
  return std::max(kLeastRows,
                  static_cast<int64_t>(bytes / static_cast<double>(map_bytes(seen.width))));
}

OwnSize::OwnSize(const Outputs& outputs, const Size& image, const Size& seen,
                 const kernels::LabelRule& rule, int threads)
    : outputs_(outputs),
      image_(image),
      seen_(seen),
      nucleus_threshold_(rule.nucleus_threshold),
      threads_(threads),
      rows_(nearest(image.height, seen.height)),
      columns_(nearest(image.width, seen.width)) {
  if (outputs.labels) {
    bands_.emplace(seen.width, rule, rows_, columns_, outputs.labels);
  }
}

uint8_t* OwnSize::next_rows(int64_t rows) {
  const int64_t kept = std::min(end_ - first_, 2 * kReach);
  const int64_t row = map_bytes(seen_.width);
  if (kept > 0) {  // an empty buffer has no address
    std::memmove(buffer_.data(), buffer_.data() + (end_ - first_ - kept) * row,
                 static_cast<size_t>(kept * row));
  }
  first_ = end_ - kept;
  end_ += rows;
  buffer_.resize(static_cast<size_t>((kept + rows) * row));
  return buffer_.data() + kept * row;
}

void OwnSize::add() {
  ImageView view = maps_view(buffer_.data(), seen_);
  view.data -= first_ * view.row_stride;
  take(view, end_);
}

void OwnSize::add_all(const ImageView& maps) {
  end_ = seen_.height;
  take(maps, end_);
}

void OwnSize::take(const ImageView& maps, int64_t end) {
  const int64_t step = std::max(8 * kReach, kChunk / seen_.width);
  const int64_t ready = end == seen_.height ? end : std::max<int64_t>(0, end - kReach);
  if (outputs_.mask) {
    const auto next = std::lower_bound(rows_.begin(), rows_.end(), ready) - rows_.begin();
    cpu::parallel_for(next - mask_done_, cpu::rows_per_thread(image_.width), threads_,
                      [&](int64_t begin, int64_t stop) {
                        for (int64_t row = mask_done_ + begin; row < mask_done_ + stop; ++row) {
                          const auto* values = reinterpret_cast<const uint8_t*>(
                              maps.data + rows_[static_cast<size_t>(row)] * maps.row_stride);
                          uint8_t* out = outputs_.mask + row * image_.width;
                          for (const int64_t column : columns_) {
                            *out++ = kernels::is_nucleus(values[column * maps.column_stride],
                                                         nucleus_threshold_);
                          }
                        }
                      });
    mask_done_ = next;
  }
  if (bands_) {
    while (bands_->next() < ready) {
      bands_->add(maps, std::min(ready, bands_->next() + step), threads_);
    }
  }
  const int64_t rows = ready * image_.height / seen_.height;
  if (outputs_.maps && rows > maps_done_) {
    cpu::resize(maps, image_.height, image_.width, {maps_done_, rows, 0, image_.width},
                outputs_.maps + map_bytes(maps_done_ * image_.width), threads_);
    maps_done_ = rows;
  }
}

void OwnSize::finish() {
  if (!bands_) return;
  bands_->finish(threads_);
  cpu::drop_loose_pieces(outputs_.labels, image_.height, image_.width);
}

}  // namespace nucleiseg::pipeline
