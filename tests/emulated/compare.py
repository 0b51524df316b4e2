"""Compare the emulated device, or a GPU, with the CPU on a folder of images, bit by bit.

python tests/emulated/compare.py FOLDER [emulated|cuda]
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from driver_machines import both, own_backend

from nucleiseg import Segmenter, images, walk

OUTPUTS = ("mask", "labels")


def differences(folder: Path, device: Segmenter, cpu: Segmenter) -> Iterator[tuple[Path, str]]:
    """Return each image, and which outputs differ: "" where none does."""
    for path in walk.find([str(folder)]).images:
        image = images.read(path)
        pairs = zip(both(device, image), both(cpu, image), strict=True)
        equal = [np.array_equal(one, other) for one, other in pairs]
        yield path, ", ".join(name for name, same in zip(OUTPUTS, equal, strict=True) if not same)


def main() -> None:
    folder, name = (sys.argv[1:] + ["", "emulated"][len(sys.argv) - 1 :])[:2]
    found = []
    for path, different in differences(
        Path(folder), Segmenter(device=own_backend(name)), Segmenter(device="cpu")
    ):
        found.append(different)
        print(f"{path.name}: {different or 'equal'}", flush=True)
    wrong = sum(map(bool, found))
    print(f"{len(found)} images, {wrong} of which differ in {' or '.join(OUTPUTS)}")
    raise SystemExit(wrong > 0 or not found)


if __name__ == "__main__":
    main()
