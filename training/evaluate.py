"""Score a model on the validation images: ``python -m training.evaluate [MODEL] --data DIR ...``.

The int8 file runs through `nucleiseg.Segmenter`, as a user's image does; the float32 network that
it was made from stands beside it.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nucleiseg import Model, Segmenter
from training import data, groups, metrics
from training.data import Sample

Labeller = Callable[[Sample], NDArray[np.int32]]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", help="ONNX file; the shipped one by default")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="annotated folders")
    parser.add_argument(
        "--all", action="store_true", help="every image, not only the held-out ones"
    )
    parser.add_argument("--weights", type=Path, help="float weights; the shipped ones by default")
    options = parser.parse_args(arguments)
    training, samples = data.load_split(options.data)
    samples += training if options.all else []
    model = Model.load(options.model)
    labellers = {"int8": int8_labeller(model), "float32": float_labeller(model, options.weights)}
    scores = {
        name: [score(sample, label) for sample in samples] for name, label in labellers.items()
    }
    print(f"{model.name} {model.version}, SHA-256 {model.checksum}")
    print("\n".join(table(samples, scores)))


def score(sample: Sample, label: Labeller) -> metrics.Score:
    """Score one image."""
    return metrics.score(sample.labels, label(sample))


def int8_labeller(model: Model) -> Labeller:
    """Label through the package, as shipped."""
    segmenter = Segmenter(model)
    return lambda sample: segmenter.segment(sample.picture, output="labels")


def float_labeller(model: Model, path: Path | None) -> Labeller:
    """Label with the float32 Keras network that the int8 file was made from."""
    from training import predict, weights

    path = weights.SHIPPED if path is None else path
    if path == weights.SHIPPED:
        _check_pair(model, path)
    network = weights.load(path)
    decoding = model.metadata["decoding"]
    return lambda sample: predict.labels(network, sample.image, decoding)


def _check_pair(model: Model, path: Path) -> None:
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = model.metadata.get("float_weights_sha256")
    if checksum != expected:
        raise SystemExit(
            f"{path} has SHA-256 {checksum}, but {model.path.name} was made from {expected}; "
            "give the right ones with --weights"
        )


def table(samples: list[Sample], scores: dict[str, list[metrics.Score]]) -> list[str]:
    """Lay out the figures, a row for all images and one for each modality."""
    head = "".join(
        f"{f'Dice {name}':>14}{f'AP@0.5 {name}':>16}{f'AP {name}':>12}" for name in scores
    )
    lines = [f"{'':20}{'images':>8}{'nuclei':>8}{head}"]
    for kind in ("all", *groups.MODALITIES):
        mine = [i for i, sample in enumerate(samples) if kind in ("all", sample.modality)]
        if not mine:
            continue
        nuclei = sum(int(samples[i].labels.max()) for i in mine)
        line = f"{kind:20}{len(mine):8}{nuclei:8}"
        for values in scores.values():
            summed = metrics.total([values[i] for i in mine])
            line += f"{summed.mean_dice:14.4f}{summed.ap[0]:16.4f}{summed.ap.mean():12.4f}"
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
