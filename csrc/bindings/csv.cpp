#include "cpu/measure/csv.h"

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/registry.h"

#if defined(NUCLEISEG_HAS_CSV)
namespace nucleiseg::bindings {
namespace {

constexpr const char* kCsvRows = R"(Write columns of numbers as lines of CSV (RFC 4180).

The numbers are as Python's ``csv`` module writes them: booleans True and False, floats with the
fewest digits that give them back. What is nan is left empty. This function is there only where the
C++ library that the module was built with has ``std::to_chars`` for doubles.

Parameters
----------
columns : sequence of numpy.ndarray
    Two or more, (n,) each, of bool, of signed integers or of floats of up to 64 bits.

Returns
-------
bytes
    n lines, each with ``"\r\n"`` at its end.

Raises
------
TypeError
    If a dtype is another.
ValueError
    If there are fewer than two columns, or one has another shape than the first.
)";

py::array dense(const py::array& column) {
  switch (column.dtype().kind()) {
    case 'b':
      return dense_array<uint8_t>(column);
    case 'i':
      return dense_array<int64_t>(column);
    case 'f':
      if (column.itemsize() <= static_cast<py::ssize_t>(sizeof(double))) {
        return dense_array<double>(column);
      }
  }
  throw py::type_error("columns: got " + py::str(column.dtype()).cast<std::string>() +
                       "; accepted are bool, signed integers and floats of up to 64 bits");
}

cpu::CsvColumn view(const py::array& column) {
  const char kind = column.dtype().kind();
  if (kind == 'u') return static_cast<const uint8_t*>(column.data());
  if (kind == 'i') return static_cast<const int64_t*>(column.data());
  return static_cast<const double*>(column.data());
}

py::bytes csv_rows(const py::sequence& columns) {
  // A line of one empty field would be an empty line, which readers skip.
  constexpr size_t kMostColumns = 10000;
  if (columns.size() < 2 || columns.size() > kMostColumns) {
    fail_value("columns", std::to_string(columns.size()) + " of them",
               "are 2 to " + std::to_string(kMostColumns));
  }
  const py::array first = array_argument(columns[0], "columns");
  const py::ssize_t rows = first.ndim() == 1 ? first.size() : 0;
  constexpr int64_t kBytesANumber = 20;
  check_bytes({static_cast<int64_t>(columns.size()), rows, kBytesANumber}, "columns");
  std::vector<py::array> arrays;
  std::vector<cpu::CsvColumn> views;
  for (const py::object one : columns) {  // which a sequence may make anew
    const py::array column = array_argument(one, "columns");
    if (column.ndim() != 1 || column.size() != rows) {
      fail_value("columns", shape_text(column), "is (n,), of one n");
    }
    check_memory(column, "columns");
    arrays.push_back(dense(column));
    views.push_back(view(arrays.back()));
  }
  std::string text;
  {
    const GilReleased release;
    text = cpu::csv_rows(views, rows);
  }
  return py::bytes(text);
}

}  // namespace

void register_csv(py::module_& module) {
  module.def("csv_rows", csv_rows, py::arg("columns"), kCsvRows);
}

}  // namespace nucleiseg::bindings
#else
namespace nucleiseg::bindings {

void register_csv(pybind11::module_&) {}

}  // namespace nucleiseg::bindings
#endif
