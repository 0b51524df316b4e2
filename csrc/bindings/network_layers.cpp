#include "bindings/network_layers.h"

namespace nucleiseg::bindings {

const char* const kStem =
    R"(The image's convolution at stride 2, then ReLU.

Parameters
----------
kernel : numpy.ndarray
    (outputs, 3, 3, 3) int8, as ONNX has it, padded by one pixel at the end; or (outputs, 3, 6, 6),
    padded by two on each side.
factors, offsets : numpy.ndarray
    (outputs,) float32: a sum's level is ``round(sum * factor + offset)``, from 0 to 127.
)";

const char* const kConvolution =
    R"(A 3 x 3 convolution of one tensor or two, then ReLU.

Parameters
----------
sources : list of int
    One or two tensors of one size, whose convolutions are added up.
kernels : list of numpy.ndarray
    (outputs, inputs, 3, 3) int8, one a source.
factors, offsets : numpy.ndarray
    (outputs,) float32.
)";

const char* const kGrow =
    R"(A transposed 2 x 2 convolution at stride 2; levels from -128 to 127.

Parameters
----------
source : int
kernel : numpy.ndarray
    (inputs, outputs, 2, 2) int8.
factors, offsets : numpy.ndarray
    (outputs,) float32.
)";

const char* const kCells =
    R"(The last layer: 3 x 3, then the logistic function.

Parameters
----------
source : int
kernel : numpy.ndarray
    (8, inputs, 3, 3) int8.
factors, offsets : numpy.ndarray
    (8,) float32: a sum's logit is ``sum * factor + offset``.
)";

network::Kernel kernel_argument(const py::array& kernel, bool transposed, int side) {
  const bool fits = kernel.ndim() == 4 && kernel.shape(2) == side && kernel.shape(3) == side;
  if (!fits || !is_dense_from(kernel, 0)) {
    fail_value(
        "kernel", shape_text(kernel),
        "is C-contiguous and ends with " + std::to_string(side) + " x " + std::to_string(side));
  }
  return {static_cast<const int8_t*>(kernel.data()), kernel.shape(transposed ? 0 : 1),
          kernel.shape(transposed ? 1 : 0), side};
}

// 6 x 6 if it is that, or else 3 x 3.
network::Kernel stem_argument(const py::array& kernel) {
  const bool large = kernel.ndim() == 4 && kernel.shape(3) == 6;
  return kernel_argument(kernel, false, large ? 6 : 3);
}

network::Rounding rounding_argument(const py::object& factors, const py::object& offsets) {
  return {floats_argument(factors, "factors"), floats_argument(offsets, "offsets")};
}

py::array int8_argument(const py::object& value) { return array_argument(value, "kernel", "int8"); }

std::vector<int> tensors_argument(const py::sequence& sources) {
  try {
    return sources.cast<std::vector<int>>();
  } catch (const py::cast_error&) {
    throw py::type_error("sources: accepted are numbers of tensors");
  }
}

void check_tiles(const py::array& tiles, int64_t stride) {
  const bool fits = tiles.ndim() == 4 && tiles.shape(3) == 3 && tiles.shape(1) % stride == 0 &&
                    tiles.shape(2) % stride == 0 && tiles.size() > 0 && is_dense_from(tiles, 0);
  if (!fits) {
    fail_value("tiles", shape_text(tiles),
               "is C-contiguous (N, h, w, 3), with h and w multiples of " + std::to_string(stride));
  }
}

}  // namespace nucleiseg::bindings
