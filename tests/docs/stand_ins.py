"""What takes the place of what a test does not have: hours, a camera, other machines, a screen."""

from __future__ import annotations

import dataclasses
import importlib
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from document_blocks import ROOT


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


LIBRARY = ROOT / "build" / "cpp"
"""The C++ library of the documents; tests/native, which may run at the same time, has its own."""

PORT = _free_port()

REPLACED = {
    # Fewer steps, smaller batches, one small slide
    r"--(steps|validate-every) \d+": r"--\1 1",
    r"--batch \d+": "--batch 1",
    r"(-m training\.(train|quantize|sizes) (?!.*--batch).*)": r"\1 --batch 1",
    r"^((nucleiseg train|.*-m training\.(train|quantize|style_transfer)) (?!.*--steps).*)": (
        r"\1 --steps 1"
    ),
    r"^(nucleiseg train .*)": r"\1 --even-if-worse",
    r"--gigapixels [\d.]+": "--gigapixels 0.004 --tiles 3",
    # Folders of the page's own
    r"(?<![\w.])/(data|results)\b": r"\1",
    r"-B build/cpp": f"-B {LIBRARY}",
    r"(--build|--install) build/cpp": rf"\1 {LIBRARY}",
    r"/opt/nucleiseg": f"{LIBRARY}/installed",
    r"-S \.": f"-S {ROOT}",
    # This machine
    r"tcp://head:8786": f"tcp://127.0.0.1:{PORT}",
    r"dask scheduler": f"dask scheduler --host 127.0.0.1 --port {PORT} --no-dashboard",
    r"dask worker": "dask worker --no-dashboard",
    r"VideoCapture\(0\)": 'VideoCapture("camera.avi")',
    r'device="cuda"': 'device="cpu"',
    # napari's window needs OpenGL; what it shows does not.
    r"napari\.Viewer\(\)": "napari.components.ViewerModel()",
    r"^napari\.run\(\)": "",
}
"""Patterns of the documents' text, and what is run instead."""


def stood_in(text: str) -> str:
    """Return the text with all that is replaced."""
    for pattern, instead in REPLACED.items():
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text


@contextmanager
def small_training(module: str, shipped: bool = False) -> Iterator[None]:
    """Have a program of `training` learn with small networks and crops, or change nothing.

    Style transfer, ``nucleiseg train`` and what is told to be `shipped` begin with shipped weights,
    so these have their networks.
    """
    if not module:
        yield
        return
    tensorflow = pytest.importorskip("tensorflow", reason="needs TensorFlow: '.[train]'")
    with pytest.MonkeyPatch.context() as patch:
        # To trace a network takes longer than the few steps.
        tensorflow.config.run_functions_eagerly(True)
        if module == "nucleiseg.train":
            finetune = importlib.import_module("training.finetune")
            patch.setattr(finetune, "BATCH", 2)
            patch.setattr(finetune, "LIGHT", dataclasses.replace(finetune.LIGHT, size=128))
        elif module != "training.style_transfer" and not shipped:
            patch.syspath_prepend(ROOT / "tests" / "training")
            small = importlib.import_module("small_networks").NETWORKS["small"]
            networks = importlib.import_module("training.topology").NETWORKS
            for name in list(networks):
                patch.setitem(networks, name, dataclasses.replace(small, name=name))
        try:
            yield
        finally:
            tensorflow.config.run_functions_eagerly(False)
