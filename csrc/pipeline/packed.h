// A model in one file that C++ reads by itself: what `nucleiseg.engines.packed` writes.
//
// A file begins with eight bytes, "NUCLEI03", and is then records of little-endian numbers: a kind,
// and what it needs. Every length is checked against what is left of the file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cpu/network/network.h"
#include "pipeline/settings.h"

namespace nucleiseg::pipeline {

struct PackedModel {
  std::shared_ptr<cpu::Network> network;
  Settings settings;  // but for the size of tiles
  double micrometres_a_pixel;
};

// `level` names one of cpu::convolutions(); the best when empty. Throws std::runtime_error for a
// file that cannot be read or is no packed model.
PackedModel read_packed(const std::string& path, const std::string& level = "");

}  // namespace nucleiseg::pipeline
