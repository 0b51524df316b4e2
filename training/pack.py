"""Pack the images to train on into one file.

``python -m training.pack --data DIR[=WEIGHT] ... --output FILE.npz``

A machine that trains on it needs NumPy, OpenCV, SciPy, scikit-image and Keras, and neither the
folders nor the package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import data, samples


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.pack", description=__doc__)
    parser.add_argument("--data", nargs="+", required=True, help="as training.train takes it")
    parser.add_argument("--output", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args(arguments)
    if options.output.suffix != ".npz":
        parser.error(f"argument --output: {options.output} does not end with .npz")
    try:
        training, _, weights = data.load_weighted(options.data)
    except ValueError as error:
        parser.error(f"argument --data: {str(error).removeprefix('data: ')}")
    samples.pack(training, weights, options.output)
    print(f"{options.output}: {len(training)} images, {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
