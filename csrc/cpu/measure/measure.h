// Measurements of each nucleus: size, shape, intensities, and the intensities of a ring around it.
//
// All labels are measured in one pass over runs of equal pixels (runs.h), which are sorted by label
// by counting. Moments are sums of integers; perimeters are Crofton's (csrc/kernels/measure.h);
// convex hulls are found by Andrew's monotone chain ("Another efficient algorithm for convex hulls
// in two dimensions", 1979, doi:10.1016/0020-0190(79)90072-3) on the ends of runs (hull.h); rings
// by distances that spread from row to row (runs.h). Linear in the pixels and in the width of
// rings.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/image.h"
#include "cpu/measure/intensity.h"
#include "cpu/measure/labels.h"

namespace nucleiseg::cpu {

// Zeros and nan for a label without pixels.
struct Shape {
  int64_t area = 0;
  int64_t box[4] = {0, 0, 0, 0};  // first row and column, last row and column plus 1
  bool border = false;
  double centroid[2] = {kNan, kNan};
  double diameter = kNan;
  double major_axis = kNan;
  double minor_axis = kNan;
  double eccentricity = kNan;
  double orientation = kNan;
  double perimeter = kNan;
  double circularity = kNan;
  double solidity = kNan;
};

struct Measures {
  std::vector<Shape> shapes;
  std::vector<Intensity> nuclei;  // of label i in channel c: [(i - 1) * channels + c]
  std::vector<Intensity> rings;
  std::vector<double> probabilities;
};

struct MeasureInputs {
  LabelView labels;
  int32_t count;           // the greatest label
  const ImageView* image;  // any number of channels; or null
  const ImageView* maps;   // uint8, the nucleus probability first; or null
  int64_t reach;           // how far the ring goes
};

Measures measure(const MeasureInputs& inputs, int threads);

}  // namespace nucleiseg::cpu
