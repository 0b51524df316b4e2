"""The package's own kernels beside OpenVINO on the same tiles: ``python benchmarks/engines.py``.

Both run the shipped int8 model, in turn; ratios are of neighbouring calls.
"""

import argparse
import time

import numpy as np
from share import picture

from nucleiseg.engines import native, openvino
from nucleiseg.model import Model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    model = Model.load()
    engines = native.Engine(model, options.threads), openvino.Engine(model, options.threads)
    print(f"{engines[0].name} and {engines[1].name}, {options.threads} threads")
    for size in options.sizes:
        tile = np.ascontiguousarray(picture(size)[None])
        for engine in 2 * engines:
            engine.infer(tile)
        times = np.array([[seconds(one, tile) for one in engines] for _ in range(options.repeats)])
        own, other = size**2 / np.median(times, axis=0) / 1e6
        ratios = times[:, 1] / times[:, 0]
        print(
            f"{size} x {size}: {own:.1f} and {other:.1f} Mpixel/s, "
            f"ratio {np.median(ratios):.2f}, lowest {ratios.min():.2f}"
        )


def seconds(engine: native.Engine | openvino.Engine, tile: np.ndarray) -> float:
    time.sleep(0.05)  # OpenVINO's threads spin for a while after their work
    begin = time.perf_counter()
    engine.infer(tile)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
