"""The package openvino, imported with its telemetry switched off.

On import, openvino reports to an analytics service and keeps an identifier in the user's home
folder, unless the package openvino_telemetry cannot be imported. Everything here that needs
openvino imports it from this module.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402 (the line above must come first)

__all__ = ["openvino"]
