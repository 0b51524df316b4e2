#include "cpp/bindings/tile_arguments.h"

namespace nucleiseg::bindings {
namespace {

using kernels::Plane;
using kernels::Point;
using kernels::Rectangle;

// Differences are taken so that no origin, however far, can overflow.
bool is_span_inside(int64_t begin, int64_t end, int64_t origin, int64_t tile, int64_t size) {
  if (begin < 0 || end > size || begin > end) return false;
  return origin <= begin && origin >= end - tile;
}

std::string span_text(int64_t begin, int64_t end) {
  return std::to_string(begin) + ":" + std::to_string(end);
}

// An (N, columns) array of int32 or int64, row after row.
std::vector<int64_t> integer_table(py::handle value, const char* name, py::ssize_t columns) {
  const py::array array = array_argument(value, name);
  const py::dtype dtype = array.dtype();
  if (dtype.kind() != 'i' || (dtype.itemsize() != 4 && dtype.itemsize() != 8)) {
    throw py::type_error(std::string(name) + ": got dtype " + py::str(dtype).cast<std::string>() +
                         "; accepted are int32 and int64");
  }
  if (array.ndim() != 2 || array.shape(1) != columns) {
    fail_value(name, shape_text(array), "is (N, " + std::to_string(columns) + ")");
  }
  check_memory(array, name);
  const auto table = dense_array<int64_t>(array);
  if (!table) throw py::error_already_set();
  return {table.data(), table.data() + table.size()};
}

}  // namespace

py::array rgb_argument(py::handle value) {
  py::array image = array_argument(value, "image", "uint8");
  if (image.ndim() != 3 || image.shape(2) != kernels::kImageChannels) {
    fail_value("image", shape_text(image), "is (H, W, 3)");
  }
  check_not_empty(image, "image");
  check_memory(image, "image");
  if (!is_dense_from(image, 1)) {
    fail_value("image", "an array with gaps in its rows", "is one contiguous in its last two axes");
  }
  return image;
}

py::array tile_cells_argument(py::handle value) {
  py::array cells = array_argument(value, "cells", "uint8");
  if (cells.ndim() != 4 || cells.shape(3) != kernels::kCellBytes) {
    fail_value("cells", shape_text(cells), "is (N, h, w, 8)");
  }
  return cells;
}

Plane<uint8_t> maps_output(const py::array& out) {
  if (out.ndim() != 3 || out.shape(2) != kernels::kMapChannels || !is_dense_from(out, 1)) {
    fail_value("out", shape_text(out), "is (H, W, 2) contiguous in its last two axes");
  }
  auto writable = out;
  return {static_cast<uint8_t*>(writable.mutable_data()), out.shape(0), out.shape(1),
          out.strides(0)};
}

void check_side(int64_t value, const char* name) {
  if (value < 1 || value > kMaxSide) {
    fail_value(name, std::to_string(value), "is 1 to " + std::to_string(kMaxSide));
  }
}

std::vector<Point> points_argument(py::handle value, const char* name) {
  const std::vector<int64_t> table = integer_table(value, name, 2);
  std::vector<Point> found;
  for (size_t i = 0; i < table.size(); i += 2) found.push_back({table[i], table[i + 1]});
  return found;
}

std::vector<Rectangle> rectangles_argument(py::handle value, const char* name) {
  const std::vector<int64_t> table = integer_table(value, name, 4);
  std::vector<Rectangle> found;
  for (size_t i = 0; i < table.size(); i += 4) {
    found.push_back({table[i], table[i + 1], table[i + 2], table[i + 3]});
  }
  return found;
}

void check_count(size_t got, const py::array& cells, const char* name) {
  if (got != static_cast<size_t>(cells.shape(0))) {
    fail_value(name, std::to_string(got) + " rows",
               "is one for each of the " + std::to_string(cells.shape(0)) + " tiles");
  }
}

void check_inside(const std::vector<Rectangle>& cores, const std::vector<Point>& origins,
                  const py::array& cells, const Plane<uint8_t>& out) {
  const int64_t height = cells.shape(1) * kernels::kCellSide;
  const int64_t width = cells.shape(2) * kernels::kCellSide;
  for (size_t i = 0; i < cores.size(); ++i) {
    const Rectangle& core = cores[i];
    if (is_span_inside(core.row_begin, core.row_end, origins[i].row, height, out.height) &&
        is_span_inside(core.column_begin, core.column_end, origins[i].column, width, out.width)) {
      continue;
    }
    fail_value("cores",
               "rows " + span_text(core.row_begin, core.row_end) + ", columns " +
                   span_text(core.column_begin, core.column_end) + " for tile " + std::to_string(i),
               "is a rectangle inside its tile and inside out");
  }
}

}  // namespace nucleiseg::bindings
