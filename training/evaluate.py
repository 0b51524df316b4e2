"""Score a model on the validation images: ``python -m training.evaluate [MODEL] --data DIR ...``.

The int8 file runs through `nucleiseg.Segmenter`, as a user's image does; the float32 network that
it was made from stands beside it. With ``--output FOLDER`` the figures are written as
``table.csv``, ``table.md`` and ``images.csv``, and the worst images as pictures into ``worst``.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nucleiseg import Model, Segmenter, images, outputs, resizing

from . import data, metrics, report, worst
from .argument_types import finite, of_model_and_data
from .samples import Sample

Labeller = Callable[[Sample], NDArray[np.int32]]

OWN_SIZE = 1.0
"""The scale at which the network sees an image as it is."""

OWN_SIZE_ONLY = "float32 sees images at their own size; so does int8 with --scale none."


class WeightsError(SystemExit):
    """The float32 network that the int8 file was made from is not at hand."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        model = Model.load(options.model)
        if options.scale is not None:
            resizing.requested(options.scale, None, None, model)
        if options.output is not None:
            outputs.prepare(options.output)
        samples = _samples(options.data, options.all)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    int8 = int8_labeller(model, options.scale)
    float32, reason = _float_labeller_or_reason(model, options.weights, options.scale)
    grouped = report.group(samples)
    scores = _scores("int8", samples, int8)
    tables = [report.figures(grouped, scores)]
    if float32 is not None:
        compared = _scores("float32", samples, float32)
        tables.append(report.comparison(grouped, scores, compared))
    title = f"{model.name} {model.version}, SHA-256 {model.checksum}"
    legend = report.LEGEND if float32 is None else f"{report.LEGEND} {OWN_SIZE_ONLY}"
    print("\n\n".join([title, *map(report.text, tables), legend, *reason]))
    if options.output is not None:
        page = "\n\n".join([title, *map(report.markdown, tables), legend])
        for name, content in (
            ("table.md", f"{page}\n"),
            ("table.csv", report.groups_csv(grouped, scores)),
            ("images.csv", report.images_csv(samples, scores)),
        ):
            images.write(options.output / name, content.encode())
        worst.write(options.output / "worst", samples, scores, int8)


def score(sample: Sample, label: Labeller) -> metrics.Score:
    """Score one image."""
    return metrics.score(sample.labels, label(sample))


def int8_labeller(model: Model, scale: float | str | None = None) -> Labeller:
    """Label through the package, as shipped.

    Parameters
    ----------
    scale : float or "auto", optional
        As `nucleiseg.Segmenter.segment` takes it; its own default when left out.
    """
    segmenter = Segmenter(model)
    settings: dict[str, Any] = {} if scale is None else {"scale": scale}
    return lambda sample: segmenter.segment(sample.picture, output="labels", **settings)


def float_labeller(model: Model, path: Path | None) -> Labeller:
    """Label with the float32 Keras network that the int8 file was made from.

    Raises
    ------
    WeightsError
        The weights are not those of the int8 file, or do not fit the network.
    """
    from . import predict, weights

    if path is None:
        path = weights.shipped(model.name)
        _check_pair(model, path)
    try:
        network = weights.load(path)
    except (KeyError, ValueError, OSError) as error:
        raise WeightsError(
            f"{path} does not hold weights of a network in training/topology.py; give those of "
            f"{model.path.name} with --weights"
        ) from error
    return lambda sample: predict.labels(network, sample.image, model.label_rule())


def _check_pair(model: Model, path: Path) -> None:
    try:
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(
            f"cannot read {path} ({error.strerror}); give the weights of {model.path.name} with "
            "--weights"
        ) from error
    expected = model.metadata.get("float_weights_sha256")
    if checksum != expected:
        raise WeightsError(
            f"{path} has SHA-256 {checksum}, but {model.path.name} was made from {expected}; "
            "give the right ones with --weights"
        )


def _float_labeller_or_reason(
    model: Model, path: Path | None, scale: float | str | None
) -> tuple[Labeller | None, list[str]]:
    """Return the float32 network, or print why it is left out; weights asked for must be there."""
    if isinstance(scale, float) and scale != OWN_SIZE:
        return None, [f"float32 is left out. {OWN_SIZE_ONLY}"]
    try:
        return float_labeller(model, path), []
    except WeightsError as error:
        if path is not None:
            raise
        return None, [f"float32 is left out: {error}."]


def _parser() -> argparse.ArgumentParser:
    parser = of_model_and_data("training.evaluate", __doc__)
    parser.add_argument(
        "--all", action="store_true", help="every image, not only the held-out ones"
    )
    parser.add_argument("--weights", type=Path, help="float weights; those shipped by default")
    parser.add_argument("--output", type=Path, help="folder for tables and the worst images")
    parser.add_argument(
        "--scale",
        type=_scale,
        metavar="{auto,none,NUMBER}",
        help="as Segmenter.segment takes it, none being 1; its own choice when left out",
    )
    return parser


def _scale(words: str) -> float | str:
    if words == "auto":
        return words
    value = OWN_SIZE if words == "none" else finite(words)
    if not value > 0:
        raise argparse.ArgumentTypeError(
            f"got {words!r}; accepted are auto, none and a number above 0"
        )
    return value


def _samples(folders: Sequence[Path], everything: bool) -> list[Sample]:
    training, samples = data.load_split(list(folders))
    samples += training if everything else []
    if not samples:
        raise ValueError("--data: no image of these folders is held out; --all takes every image")
    return sorted(samples, key=lambda sample: sample.name)


def _scores(name: str, samples: Sequence[Sample], label: Labeller) -> list[metrics.Score]:
    return [score(sample, label) for sample in tqdm(samples, desc=name, unit="image")]


if __name__ == "__main__":
    main()
