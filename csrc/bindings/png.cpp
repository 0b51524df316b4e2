#include "cpu/encode/png.h"

#include "bindings/arguments.h"
#include "bindings/gil.h"
#include "bindings/registry.h"

namespace nucleiseg::bindings {
namespace {

constexpr const char* kPng = R"(Encode a mask or labels as a PNG file.

Made for areas of one value each, of which it makes small files in a fraction of a compressor's
time. Any image is stored without loss, but one that is all noise is larger than before.

Parameters
----------
image : numpy.ndarray
    (H, W) uint8 or uint16, with any strides.

Returns
-------
bytes
    The file: grey, of 8 or 16 bits.

Raises
------
TypeError
    If the dtype is another.
ValueError
    If the image is empty or not (H, W).

Notes
-----
The format is PNG's [1]_, with deflate's fixed codes [2]_.

References
----------
.. [1] W3C, "Portable Network Graphics (PNG) Specification", second edition, 2003.
.. [2] Deutsch, "DEFLATE Compressed Data Format Specification version 1.3", RFC 1951, 1996.
)";

py::bytes png(const py::object& image) {
  py::array array = array_argument(image, "image");
  const bool is_wide = py::isinstance<py::array_t<uint16_t>>(array);
  if (!is_wide && !py::isinstance<py::array_t<uint8_t>>(array)) {
    throw py::type_error("image: got " + py::str(array.dtype()).cast<std::string>() +
                         "; accepted are uint8 and uint16");
  }
  if (array.ndim() != 2) fail_value("image", shape_text(array), "is (H, W)");
  check_not_empty(array, "image");
  check_memory(array, "image");
  if (!is_dense_from(array, 1)) {
    array =
        is_wide ? py::array(dense_array<uint16_t>(array)) : py::array(dense_array<uint8_t>(array));
  }
  const cpu::ImageView view = image_view(array, "image");
  std::string file;
  {
    const GilReleased release;
    file = cpu::png(view);
  }
  return py::bytes(file);
}

}  // namespace

void register_png(py::module_& module) { module.def("png", png, py::arg("image"), kPng); }

}  // namespace nucleiseg::bindings
