"""What an image takes, measured on a process of its own: `docs/performance.md` promises it."""

import subprocess
import sys
from pathlib import Path

import pytest

SIDE = 4500
BYTES = 20
"""Of a pixel, at most: the image (RGB, 8 bits), all outputs and all that is needed on the way."""

FIXED = 300e6
"""Beside the loaded package: a tile's way through the network, and some rows of maps."""

CODE = """
import numpy as np
from nucleiseg import Segmenter, images

def kept(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

side, path, scale = {side}, {path!r}, {scale!r}
segmenter = Segmenter(device="cpu")
small = images.read(path)
segmenter.analyze(small[:99, :99], scale=2)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
before = kept("VmRSS")
image = np.empty((side, side, 3), np.uint8)
rows, columns = np.arange(side) % small.shape[0], np.arange(side) % small.shape[1]
for row in range(side):
    image[row] = small[rows[row], columns]
found = segmenter.analyze(image, scale=scale)
assert found.labels.max() > 1000 and found.mask.any() and found.maps.any()
print(kept("VmHWM") - before)
"""

IMAGES = Path(__file__).parents[1] / "data" / "images"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone tells the peak")
@pytest.mark.parametrize("scale", [1, 2, 1.1, 0.6, "auto"])
def test_an_image_takes_at_most_20_bytes_a_pixel(scale):
    path = str(IMAGES / "purple_on_violet.png")
    code = CODE.format(side=SIDE, path=path, scale=scale)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < BYTES * SIDE**2 + FIXED
