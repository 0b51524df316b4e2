"""What every tool is given: a picture of tissue, and the nuclei in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.steps.common import picture
from nucleiseg import Segmenter


class Pictures:
    """Writes pictures into a folder, once each.

    A picture is an example of real tissue and its mirror images, side by side. Its nuclei are those
    that nucleiseg finds.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder = folder
        self.segmenter = Segmenter(device="cpu", threads=threads)

    def files(self, size: int) -> dict[str, str]:
        """Return the names of a square picture's two files: ``image`` and ``labels``."""
        names = {kind: self.folder / f"{kind}_{size}.npy" for kind in ("image", "labels")}
        if not names["image"].is_file():
            image = picture(size)
            np.save(names["labels"], self.segmenter.segment(image, "labels", scale=1))
            np.save(names["image"], image)
        return {kind: str(name) for kind, name in names.items()}

    def nuclei(self, size: int) -> int:
        """Count the nuclei of a picture."""
        return int(np.load(self.files(size)["labels"]).max())
