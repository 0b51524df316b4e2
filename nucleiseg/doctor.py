"""What this machine offers, and what to do about what is missing."""

from __future__ import annotations

import ctypes
import importlib.util
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from nucleiseg import __version__
from nucleiseg.backends import available_threads
from nucleiseg.model import Model, ModelError

# Names of the instructions that make a difference, as the kernel of Linux spells them.
_INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "amx_int8": "AMX",
    "asimd": "NEON",
    "asimddp": "NEON dot product",
    "i8mm": "NEON int8 matrix product",
    "sve": "SVE",
}
_NVIDIA_VENDOR = "0x10de"
_NVIDIA_DEVICES = ("nvidia0", "nvhost-gpu", "nvmap")
_TENSORRT_MODULES = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx-cu12"}


def examine() -> Iterator[str]:
    """Describe the machine, one line a subject.

    Yields
    ------
    str
        ``subject: what was found; what to do``. Nothing here raises for what is missing.
    """
    yield f"nucleiseg: {__version__}, Python {platform.python_version()}, {_system()}"
    yield f"CPU: {_cpu()}"
    yield f"kernels: {_kernels()}"
    yield f"OpenVINO: {_openvino()}"
    yield f"model: {_model()}"
    gpu = find_gpu()
    yield f"GPU: {gpu.words}"
    yield f"TensorRT: {_tensorrt(gpu.usable)}"
    yield f"pycuda: {_pycuda(gpu.usable)}"


@dataclass(frozen=True)
class Gpu:
    """What was found of a GPU: whether it can be used, and what to say."""

    usable: bool
    words: str


def find_gpu() -> Gpu:
    """Look for an NVIDIA GPU and its driver, without any package."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Gpu(False, _without_driver())
    code = driver.cuInit(0)
    if code:
        return Gpu(
            False, f"the NVIDIA driver answers with error {code}; try nvidia-smi; runs on the CPU."
        )
    names = [_name(driver, index) for index in range(_number(driver.cuDeviceGetCount))]
    if not names:
        return Gpu(False, "the NVIDIA driver finds none; runs on the CPU.")
    found = f"{', '.join(names)}, driver for CUDA {_cuda_version(driver)}"
    if not _has_cuda_kernels():
        return Gpu(False, f"{found}; this build has no CUDA kernels; runs on the CPU.")
    return Gpu(True, f"{found}.")


def _has_cuda_kernels() -> bool:
    try:
        from nucleiseg import _native
    except ImportError:
        return False
    return hasattr(_native, "cuda")


def _without_driver() -> str:
    if _has_nvidia_device():
        return "an NVIDIA device without its driver; install the NVIDIA driver; runs on the CPU."
    return "none found; runs on the CPU."


def _has_nvidia_device() -> bool:
    if any(Path("/dev", name).exists() for name in _NVIDIA_DEVICES):
        return True
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    return any(vendor.read_text().strip() == _NVIDIA_VENDOR for vendor in vendors)


def _number(query: ctypes._NamedFuncPointer) -> int:
    number = ctypes.c_int()
    query(ctypes.byref(number))
    return number.value


def _name(driver: ctypes.CDLL, index: int) -> str:
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGetName(name, len(name), index)
    return name.value.decode()


def _cuda_version(driver: ctypes.CDLL) -> str:
    version = _number(driver.cuDriverGetVersion)
    return f"{version // 1000}.{version % 1000 // 10}"


def _tensorrt(gpu: bool) -> str:
    for module, package in _TENSORRT_MODULES.items():
        if importlib.util.find_spec(module):
            return f"{module} {_version(package)}."
    if gpu:
        return "not installed; for the GPU install nucleiseg[tensorrt] or nucleiseg[rtx] with pip."
    return "not installed; not needed on the CPU."


def _pycuda(gpu: bool) -> str:
    if importlib.util.find_spec("pycuda"):
        return f"{_version('pycuda')}."
    if gpu:
        return "not installed; it comes with nucleiseg[tensorrt] and nucleiseg[rtx]."
    return "not installed; not needed on the CPU."


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _system() -> str:
    return f"{platform.system()} {platform.machine()}"


def _cpu() -> str:
    described = _cpuinfo()
    name = described.get("model name") or platform.processor() or platform.machine()
    flags = (described.get("flags") or described.get("features") or "").split()
    has = [words for flag, words in _INSTRUCTIONS.items() if flag in flags]
    instructions = f"; {', '.join(has)}" if has else ""
    return f"{name}, {available_threads()} threads{instructions}"


def _cpuinfo() -> dict[str, str]:
    """First entry of each name in what Linux tells of its processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = [line.partition(":") for line in reversed(lines)]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _kernels() -> str:
    try:
        from nucleiseg._native import cpu
    except ImportError as error:
        return f"the native module does not load ({error}); install the package again."
    features = cpu.features()
    return f"{features['level']}; this CPU can run {', '.join(features['levels'])}"


def _openvino() -> str:
    try:
        import openvino
    except ImportError as error:
        return f"does not load ({error}); install the package again."
    devices = openvino.Core().available_devices
    return f"{openvino.__version__.split('-')[0]}, devices {', '.join(devices)}"


def _model() -> str:
    try:
        model = Model.load()
    except ModelError as error:
        return str(error).removeprefix("model: ")
    return f"{model.name} {model.version}, SHA-256 {model.checksum} verified"
