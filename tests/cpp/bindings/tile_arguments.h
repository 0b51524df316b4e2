// Checks of the arguments that say where tiles lie, on every device.
#pragma once

#include <vector>

#include "bindings/arguments.h"
#include "kernels/tiles.h"

namespace nucleiseg::bindings {

// (H, W, 3) uint8, contiguous in its last two axes.
py::array rgb_argument(py::handle value);

// (N, h, w, 8) uint8.
py::array tile_cells_argument(py::handle value);

// Maps to write into: (H, W, 2), contiguous in its last two axes.
kernels::Plane<uint8_t> maps_output(const py::array& out);

// Is it a side that a tile may have?
void check_side(int64_t value, const char* name);

std::vector<kernels::Point> points_argument(py::handle value, const char* name);
std::vector<kernels::Rectangle> rectangles_argument(py::handle value, const char* name);

// Is there one for each tile?
void check_count(size_t got, const py::array& cells, const char* name);

// Is each core inside its tile and inside `out`?
void check_inside(const std::vector<kernels::Rectangle>& cores,
                  const std::vector<kernels::Point>& origins, const py::array& cells,
                  const kernels::Plane<uint8_t>& out);

}  // namespace nucleiseg::bindings
