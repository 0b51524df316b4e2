"""From a trained Keras model to a float32 ONNX file in plain operators."""

from __future__ import annotations

import keras
import onnx
import tensorflow as tf
import tf2onnx

from training import unet

OPSET = 17
"""Read by OpenVINO, TensorRT 8.6 and later, and NNCF."""

TRACED_SIZE = 256
"""Side of the square at which the graph is traced; the file takes any multiple of `unet.STRIDE`."""

PLAIN_OPERATORS = {"Conv", "Relu", "ConvTranspose", "MaxPool", "Concat", "Sigmoid"}


def to_onnx(trained: keras.Model) -> onnx.ModelProto:
    """Convert a trained model to ONNX.

    A graph traced with free sizes computes every transposed convolution's output shape at run
    time; int8 quantisation and TensorRT both stumble over that. So it is traced at a fixed size,
    and only the declared input and output shapes are freed afterwards.

    Parameters
    ----------
    trained : keras.Model
        `unet.build`'s model with its weights, in float32.

    Returns
    -------
    onnx.ModelProto
        ``image`` (N, 3, h, w) float32 in 0..255 -> ``maps`` (N, 2, h, w) float32 in 0..1.

    Raises
    ------
    ValueError
        The graph has operators other than `PLAIN_OPERATORS`.
    """
    plain = _without_rescaling(trained)
    signature = [tf.TensorSpec((1, TRACED_SIZE, TRACED_SIZE, 3), tf.float32, name="image")]
    function = tf.function(lambda image: {"maps": plain(image, training=False)}, signature)
    proto, _ = tf2onnx.convert.from_function(
        function, signature, opset=OPSET, inputs_as_nchw=["image"], outputs_as_nchw=["maps"]
    )
    _free_sizes(proto)
    found = {node.op_type for node in proto.graph.node}
    if found - PLAIN_OPERATORS:
        raise ValueError(f"the exported graph has more than plain operators: {sorted(found)}")
    onnx.checker.check_model(proto)
    return proto


def _without_rescaling(trained: keras.Model) -> keras.Model:
    """Fold the division by 255 into the first convolution, so that the file takes bytes as they
    are and an int8 engine's input scale is exactly one."""
    kernels = {weight.path: keras.ops.convert_to_numpy(weight) for weight in trained.weights}
    plain = unet.build(size=TRACED_SIZE, rescale=False)
    for weight in plain.weights:
        value = kernels[weight.path]
        weight.assign(value / 255 if weight.path == "stem_conv/kernel" else value)
    return plain


def _free_sizes(proto: onnx.ModelProto) -> None:
    for value in (*proto.graph.input, *proto.graph.output):
        names = {0: "batch", 2: "height", 3: "width"}
        for axis, name in names.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    # Shapes inferred at the traced size would contradict the freed ones.
    del proto.graph.value_info[:]
