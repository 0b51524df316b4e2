// A random rule of labelling, for the programs that compare implementations.
#pragma once

#include "kernels/label.h"

namespace nucleiseg {

// `pick(low, high)` draws a whole number. Half of the rules merge basins, and half ask for a
// probability.
template <class Pick>
kernels::LabelRule random_rule(Pick&& pick) {
  const auto byte = [&](int64_t most) { return static_cast<uint8_t>(pick(0, most)); };
  kernels::LabelRule rule = {byte(160), byte(255), byte(60), pick(0, 9), byte(200), 0};
  if (pick(0, 1) == 0) rule.min_probability = byte(255);
  if (pick(0, 1) == 0) return rule;
  const auto weight = [&] {
    constexpr int64_t kMost = kernels::kMostMergeWeight;
    return static_cast<int32_t>(pick(-kMost, kMost));
  };
  rule.merge.prominence = static_cast<int32_t>(pick(1, 255));
  rule.merge.pixel = 1.0 / static_cast<double>(pick(1, 20));
  for (auto& unit : rule.merge.units) {
    for (int32_t& value : unit) value = weight();
  }
  for (int32_t& value : rule.merge.output) value = weight();
  return rule;
}

}  // namespace nucleiseg
