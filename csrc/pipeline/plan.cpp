#include "pipeline/plan.h"

#include <algorithm>
#include <cmath>

#include "pipeline/settings.h"

namespace nucleiseg::pipeline {
namespace {

// One axis: where tiles start, their length, and the bounds between what they keep.
struct Span {
  std::vector<int64_t> starts;
  std::vector<int64_t> bounds;
  int64_t size;
};

int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

Span span(int64_t length, int64_t tile, int64_t halo, int64_t stride) {
  const int64_t units = divided_up(length, stride);
  const int64_t margin = 2 * halo / stride;
  const int64_t step = tile / stride - margin;
  const int64_t count =
      units <= margin ? 1 : std::max<int64_t>(1, divided_up(units - margin, step));
  const int64_t size = divided_up(units + (count - 1) * margin, count);
  Span found = {{}, {0}, size * stride};
  for (int64_t i = 0; i < count; ++i) {
    const int64_t start = i * (units - size) / std::max<int64_t>(1, count - 1) * stride;
    found.starts.push_back(start);
    if (i > 0) found.bounds.push_back(start + halo);
  }
  found.bounds.push_back(length);
  return found;
}

}  // namespace

std::vector<Band> plan(int64_t height, int64_t width, int64_t tile, int64_t tall, int64_t halo,
                       int64_t stride) {
  const Span rows = span(height, tall, halo, stride);
  const Span columns = span(width, tile, halo, stride);
  std::vector<Band> bands;
  for (size_t i = 0; i < rows.starts.size(); ++i) {
    const int64_t start = rows.starts[i];
    const int64_t top = rows.bounds[i];
    const int64_t bottom = rows.bounds[i + 1];
    bands.push_back({start,
                     std::min(start + rows.size, height),
                     top,
                     bottom,
                     rows.size,
                     columns.size,
                     {},
                     {},
                     {}});
    for (size_t k = 0; k < columns.starts.size(); ++k) {
      bands.back().sources.push_back({0, columns.starts[k]});
      bands.back().targets.push_back({start - top, columns.starts[k]});
      bands.back().cores.push_back({0, bottom - top, columns.bounds[k], columns.bounds[k + 1]});
    }
  }
  return bands;
}

kernels::LabelRule rule_at(const kernels::LabelRule& rule, double scale) {
  kernels::LabelRule found = rule;
  const double area = static_cast<double>(rule.min_area) * (scale * scale);
  found.min_area = std::max<int64_t>(1, static_cast<int64_t>(std::nearbyint(area)));
  found.merge.pixel = 1 / (scale * scale);
  return found;
}

Size size_at(const Size& image, double scale) {
  const auto side = [&](int64_t length) {
    const double shrunk = static_cast<double>(length) / scale;
    return std::max<int64_t>(1, static_cast<int64_t>(std::nearbyint(shrunk)));
  };
  return {side(image.height), side(image.width)};
}

}  // namespace nucleiseg::pipeline
