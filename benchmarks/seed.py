"""``segment()`` against the plain U-Net that this project started from.

``python benchmarks/seed.py`` builds the textbook network (64 to 1024 channels, 31 M weights, at
full resolution) in Keras, and times its ``predict`` and `nucleiseg.segment` on the same 1024 x 1024
RGB image, alternating, in one process. Weights do not change the time, so they are random. Needs
TensorFlow (``pip install nucleiseg[train]``).
"""

import argparse
import time

import numpy as np
from peers.programs import plain_unet, seconds
from share import picture

from nucleiseg import Segmenter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=3, help="of the plain U-Net")
    options = parser.parse_args()
    image = picture(options.size)
    seed = plain_unet.build(options.size)
    print(f"plain U-Net: {seed.count_params() / 1e6:.1f} M weights")
    segmenter = Segmenter(threads=options.threads)
    batch = image[None].astype(np.float32) / 255
    seed.predict(batch, verbose=0)
    segmenter.segment(image)
    plain, ours = [], []
    for _ in range(options.repeats):
        plain.append(seconds(seed.predict, batch, verbose=0))
        time.sleep(0.5)  # TensorFlow's threads spin for a while after their work
        ours.append(min(seconds(segmenter.segment, image) for _ in range(10)))
    pixels = image.size / 3 / 1e6
    for name, times in (("plain U-Net, Keras predict", plain), ("nucleiseg segment()", ours)):
        print(
            f"{name:28} {1e3 * np.median(times):9.1f} ms {pixels / np.median(times):8.2f} Mpixel/s"
        )
    ratios = np.array(plain) / np.array(ours)
    print(f"ratio, pair by pair: median {np.median(ratios):.0f}, lowest {ratios.min():.0f}")


if __name__ == "__main__":
    main()
