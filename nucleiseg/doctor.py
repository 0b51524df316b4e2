"""What this machine can do, and how to get what is missing."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

from nucleiseg import __version__, device
from nucleiseg._native import cpu
from nucleiseg.device import available_threads
from nucleiseg.model import DEFAULT, Model, ModelError, shipped

# Instruction sets that make a difference, under the names that Linux uses.
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


def examine() -> Iterator[str]:
    """Yield ``subject: what was found; what to do`` for each subject.

    Nothing here raises for what is missing.
    """
    system = f"{platform.system()} {platform.machine()}"
    yield f"nucleiseg: {__version__}, Python {platform.python_version()}, {system}"
    yield f"CPU: {_cpu()}"
    features, levels = cpu.features(), cpu.convolution_levels()
    yield f"kernels: {features['level']}; this CPU can run {', '.join(features['levels'])}"
    best = f"its own int8 kernels ({levels[-1]})"
    yield f"network on the CPU: {best}; this CPU can run {', '.join(levels)}"
    for name in sorted({*shipped(), DEFAULT}):
        yield f"model {name}: {_model(name)}"
    yield from _gpu()


def prove_gpu(path: Path, tell: Callable[[str], None]) -> bool:
    """Return whether the current GPU computes the CPU's bytes; write the findings as JSON.

    Parameters
    ----------
    path : Path
        The JSON file.
    tell : callable
        Called with each line for people.

    Raises
    ------
    RuntimeError
        No GPU can be used; with what is missing.
    OSError
        The file cannot be written.
    """
    lacking = device.lacking(device.find())
    if lacking:
        raise RuntimeError(lacking)
    from nucleiseg import _native, gpu_proof

    path.touch()  # an error here comes before minutes of work
    found = gpu_proof.prove(Model.load(), _native.cuda, tell)
    path.write_text(json.dumps(found, indent=2) + "\n")
    tell(f"all of it is in {path}")
    return bool(found["passed"])


def _gpu() -> Iterator[str]:
    found = device.find()
    gpu, *others = found
    lacking = device.lacking(found)
    yield f"{gpu.name}: {gpu.words}{'; runs on the CPU.' if lacking else '.'}"
    if not lacking:
        library = "TensorRT where it is right and faster, else " if device.tensorrt_module() else ""
        yield f"network on the GPU: {library}its own int8 kernels"
    for part in others:
        yield f"{part.name}: {part.words}." if part.there else f"{part.sentence}."


def _cpu() -> str:
    described = _cpuinfo()
    name = described.get("model name") or platform.processor() or platform.machine()
    flags = (described.get("flags") or described.get("features") or "").split()
    has = [words for flag, words in _INSTRUCTIONS.items() if flag in flags]
    instructions = f"; {', '.join(has)}" if has else ""
    return f"{name}, {available_threads()} threads{instructions}"


def _cpuinfo() -> dict[str, str]:
    """Return the first entry of each name in Linux's description of its processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = [line.partition(":") for line in reversed(lines)]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _model(name: str) -> str:
    try:
        model = Model.load(name)
    except ModelError as error:
        return str(error).removeprefix("model: ")
    default = ", the default" if name == DEFAULT else ""
    return f"{model.version}{default}, SHA-256 {model.checksum} verified"
