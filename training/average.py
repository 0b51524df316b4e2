"""The mean of several runs' weights.

``python -m training.average FILE[=WEIGHT] ... --output FILE``: runs that began with the same
weights end near each other, and the middle between them is often better than each (Wortsman et al.
2022, doi:10.48550/arXiv.2203.05482).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np

from training import weights


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.average", description=__doc__)
    parser.add_argument(
        "weights",
        nargs="+",
        type=_file,
        metavar="FILE[=WEIGHT]",
        help=".weights.h5 or .npz; weight 1 if left out",
    )
    parser.add_argument("--output", type=Path, required=True, help="the .weights.h5 to write")
    options = parser.parse_args(arguments)
    model = average(options.weights)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    model.save_weights(options.output)
    print(f"{options.output}: the mean of {len(options.weights)} files")


def _file(text: str) -> tuple[Path, float]:
    name, equals, share = text.rpartition("=")
    path = Path(name if equals else text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"no such file: {path}")
    try:
        value = float(share) if equals else 1.0
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}; a weight is a number above 0")
    return path, value


def average(files: list[tuple[Path, float]]) -> keras.Model:
    """Give the network with the weighted mean of some files' weights."""
    total = sum(share for _, share in files)
    sums: list[np.ndarray] = []
    for path, share in files:
        model = weights.load(path)
        values = [share / total * keras.ops.convert_to_numpy(one) for one in model.weights]
        sums = [a + b for a, b in zip(sums, values, strict=True)] if sums else values
    for weight, value in zip(model.weights, sums, strict=True):
        weight.assign(value)
    return model


if __name__ == "__main__":
    main()
