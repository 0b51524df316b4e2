"""What a device needs: which parts are there, and the command that gets what is missing.

The only place that words this: errors, the log and ``nucleiseg doctor`` quote it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from nucleiseg import _native

_NVIDIA_VENDOR = "0x10de"
_NVIDIA_DEVICES = ("nvidia0", "nvhost-gpu", "nvmap")
_TENSORRT_MODULES = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx-cu12"}
_TENSORRT_MEND = (
    "pip install tensorrt, or pip install tensorrt-rtx-cu12; a Jetson gets it with JetPack"
)
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes
    ----------
    name : str
    there : bool
    words : str
        What was found.
    mend : str
        What to do where it is missing.
    needed : bool
        Whether nothing runs on a GPU without it.
    """

    name: str
    there: bool
    words: str
    mend: str
    needed: bool = True

    @property
    def sentence(self) -> str:
        """What is wrong and what mends it."""
        return f"{self.name}: {self.words} ({self.mend})"


def find() -> list[Part]:
    """Look for every part. Nothing here raises for what is missing.

    Returns
    -------
    list of Part
        The GPU itself first.
    """
    driver, names, driver_version = _driver()
    module = tensorrt_module()
    package = _TENSORRT_MODULES.get(module, "")
    return [
        _gpu(names),
        driver,
        _kernels(driver_version, bool(names)),
        _optional("TensorRT", module and f"{module} {version(package)}", _TENSORRT_MEND),
        _optional(
            "pycuda",
            version("pycuda") if importlib.util.find_spec("pycuda") else "",
            "optional, for its GPUArray: pip install pycuda",
        ),
    ]


def lacking(found: Sequence[Part]) -> str:
    """Return a sentence on each needed part that is missing; "" if none is."""
    return "; ".join(part.sentence for part in found if part.needed and not part.there)


def _gpu(names: list[str]) -> Part:
    mend = "use device='cpu' or device='auto'; CUDA_VISIBLE_DEVICES may hide one"
    if names:
        return Part("GPU", True, ", ".join(names), mend)
    if _has_nvidia_device():
        return Part("GPU", True, "an NVIDIA device that the driver does not name", mend)
    return Part("GPU", False, "no NVIDIA GPU is visible", mend)


def _driver() -> tuple[Part, list[str], int]:
    """Return the driver, its GPUs' names and the newest CUDA it knows, without any package."""
    mend = "Ubuntu: sudo ubuntu-drivers install; a Jetson gets it with JetPack"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Part("NVIDIA driver", False, "libcuda.so.1 is not installed", mend), [], 0
    code = driver.cuInit(0)
    if code not in (0, _NO_DEVICE):
        words = f"it answers with error {code}"
        return Part("NVIDIA driver", False, words, "see what nvidia-smi says; restart"), [], 0
    version = _number(driver.cuDriverGetVersion)
    words = f"for CUDA {version // 1000}.{version % 1000 // 10}"
    names = [] if code else _names(driver)
    return Part("NVIDIA driver", True, words, mend), names, version


def _names(driver: ctypes.CDLL) -> list[str]:
    found = []
    for index in range(_number(driver.cuDeviceGetCount)):
        name = ctypes.create_string_buffer(256)
        driver.cuDeviceGetName(name, len(name), index)
        found.append(name.value.decode())
    return found


def _number(query: ctypes._NamedFuncPointer) -> int:
    number = ctypes.c_int()
    query(ctypes.byref(number))
    return number.value


def _has_nvidia_device() -> bool:
    if any(Path("/dev", name).exists() for name in _NVIDIA_DEVICES):
        return True
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    return any(vendor.read_text().strip() == _NVIDIA_VENDOR for vendor in vendors)


def _kernels(driver_version: int, has_gpu: bool) -> Part:
    name, mend = "CUDA kernels", "put nvcc on the path and run: pip install --force-reinstall ."
    if not hasattr(_native, "cuda"):
        return Part(name, False, "this build has none", mend)
    major, minor = _native.cuda.runtime_version()
    words = f"for CUDA {major}.{minor}"
    # Minor versions of one major version work together.
    if driver_version and driver_version // 1000 < major:
        return Part(name, False, f"{words}, which the driver is too old for", "update the driver")
    try:
        if has_gpu:
            _native.cuda.try_kernel()
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        return Part(name, False, f"{words}, but none runs here: {reason}", mend)
    return Part(name, True, words, mend)


def tensorrt_module() -> str:
    """Name the module of TensorRT that is installed; "" if none is."""
    return next((name for name in _TENSORRT_MODULES if importlib.util.find_spec(name)), "")


def _optional(name: str, found: str, mend: str) -> Part:
    return Part(name, bool(found), found or "not installed", mend, needed=False)


def version(package: str) -> str:
    """Return the version of a package that is installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def available_threads() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
