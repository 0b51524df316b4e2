"""What tests of engines need, and the words for where it is missing."""

import importlib.util

import pytest

tensorrt_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="TensorRT for RTX is not installed, which builds engines without a GPU: "
    "pip install tensorrt-rtx-cu12",
)
